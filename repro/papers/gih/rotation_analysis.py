"""The rotation test: rows of `papers.gih.rotation` to numbers and tables. Seeds are averaged within a draw first."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata, spearmanr

from repro.papers.gih.study import KINDS, MIXED, RANDOM, TOP
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

FITTED = 0.99  # train accuracy below which the difference between planes is not judged
FILM_LOOKS = 5  # at a net along training
JUDGED = ("top", "mixed", "middle", "random", "bottom")  # kinds of planes of the claim on dense nets


def labelled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of several architectures in one table, with their names in column architecture."""
    return pd.concat([table.assign(architecture=name) for name, table in tables.items()], ignore_index=True)


def by_draw(rows: pd.DataFrame, column: str, kinds: Sequence[str]) -> Array:
    """A column averaged over seeds, (draws, kinds)."""
    table = rows.pivot_table(index="draw", columns="plane", values=column, aggfunc="mean")
    return table[list(kinds)].to_numpy(float)


def lowest(rows: pd.DataFrame) -> stats.Finding:
    """Lowest mean test accuracy over the kinds of planes."""
    kinds = [kind for kind in JUDGED if kind in set(rows["plane"])]
    found = stats.smallest(lambda x: x.mean(axis=0), by_draw(rows, "test", kinds))
    return stats.Finding(found, {"lowest_run": float(rows["test"].min())})


def top_less_random(rows: pd.DataFrame) -> stats.Finding:
    """Test accuracy on top planes less that on random ones, mean over draws; withheld where a net did not fit."""
    accuracy = by_draw(rows, "test", [TOP, RANDOM])
    judged = rows[rows["plane"].isin([TOP, RANDOM])]
    unfitted = int((judged["train"] < FITTED).sum())
    reason = f"{unfitted} of {len(judged)} nets fit less than {FITTED:.2f} of their points" if unfitted else ""
    means = by_draw(rows, "test", sorted(set(rows["plane"]))).mean(axis=0)
    values = dict(zip(sorted(set(rows["plane"])), map(float, means), strict=True))
    return stats.Finding(stats.mean(accuracy[:, 0] - accuracy[:, 1]), values, reason)


def threshold_difference(rows: pd.DataFrame) -> stats.Finding:
    """Log₂ of the threshold, random less top planes, mean over draws; how many are only bounds beside it."""
    logs = np.log2(by_draw(rows, "threshold", [TOP, RANDOM]))
    last = rows.drop_duplicates(["draw", "plane"])
    values = {
        "top_points": float(np.exp2(logs[:, 0].mean())),
        "random_points": float(np.exp2(logs[:, 1].mean())),
        "censored_top": float(last["censored"][last["plane"] == TOP].sum()),
        "censored_random": float(last["censored"][last["plane"] == RANDOM].sum()),
    }
    return stats.Finding(stats.mean(logs[:, 1] - logs[:, 0]), values)


def strips(rows: pd.DataFrame) -> stats.Finding:
    """Recall of the outer ring near u₁ less that near u₂ on mixed planes, mean over draws."""
    first, second = (by_draw(rows, arc, [MIXED])[:, 0] for arc in ("arc_1", "arc_2"))
    return stats.Finding(stats.mean(first - second), {"arc_1": float(first.mean()), "arc_2": float(second.mean())})


def monotone(rows: pd.DataFrame) -> stats.Finding:
    """Spearman correlation of test accuracy with the smaller uᵀGu within each draw, mean over draws."""
    found = [_spearman(part) for _, part in rows.groupby("draw")]
    without = rows[rows["plane"] != "bottom"]
    values = {}
    if len(without) < len(rows) and without["plane"].nunique() > 2:
        values["without_bottom"] = float(np.mean([_spearman(part) for _, part in without.groupby("draw")]))
    return stats.Finding(stats.mean(found), values)


def partial_rank_correlation(rows: pd.DataFrame) -> stats.Finding:
    """Partial Spearman correlation of test accuracy with the smaller uᵀGu given the architecture, mean over draws."""
    found = [_partial(part) for _, part in rows.groupby("draw")]
    shared = rows.groupby(["draw", "architecture"])[["participation", "test"]].mean().reset_index()
    values = {
        "lowest_train": float(rows["train"].min()),
        "participation_link": float(
            np.mean([_rank_correlation(part["participation"], part["test"]) for _, part in shared.groupby("draw")])
        ),
    }
    return stats.Finding(stats.mean(found), values)


def accuracies(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Test accuracy of each network: network, plane, mean, lower, upper, draws, train (the lowest)."""
    found = []
    for network, rows in tables.items():
        kinds = [kind for kind in KINDS if kind in set(rows["plane"])]
        spread = stats.mean(by_draw(rows, "test", kinds))
        lowest_train = [float(rows["train"][rows["plane"] == kind].min()) for kind in kinds]
        found.append(spread.frame("draws", network=network, plane=kinds, train=lowest_train))
    return pd.concat(found, ignore_index=True)


def arcs(rows: pd.DataFrame) -> pd.DataFrame:
    """Recall of the outer ring near each direction: plane, arc, mean, lower, upper, draws."""
    kinds = [kind for kind in KINDS if kind in set(rows["plane"])]
    return pd.concat(
        [stats.mean(by_draw(rows, arc, kinds)).frame("draws", plane=kinds, arc=arc) for arc in ("arc_1", "arc_2")],
        ignore_index=True,
    )


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Every plane: draw, plane, share, test, averaged over seeds."""
    return rows.groupby(["draw", "plane"], sort=False)[["share", "test"]].mean().reset_index()


def along(rows: pd.DataFrame, axis: str, by: str) -> pd.DataFrame:
    """Test accuracy against a column `axis` for every value of the column `by`: by, axis, mean, lower, upper, draws."""
    found = []
    for name, part in rows.groupby(by, sort=False):
        table = part.pivot_table(index="draw", columns=axis, values="test", aggfunc="mean")
        spread = stats.mean(table.to_numpy(float))
        found.append(spread.frame("draws", **{by: name, axis: table.columns.to_numpy(float)}))
    return pd.concat(found, ignore_index=True)


def together(tables: Mapping[str, pd.DataFrame], axis: str, by: str) -> pd.DataFrame:
    """`along` of several tables, one below the other."""
    return along(pd.concat(tables.values(), ignore_index=True), axis, by)


def window(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Test accuracy against the radius: series (network and plane), radius, mean, lower, upper, draws."""
    rows = pd.concat(tables.values(), ignore_index=True)
    return along(rows.assign(series=rows["network"] + ", " + rows["plane"]), "radius", "series")


def thresholds(rows: pd.DataFrame) -> pd.DataFrame:
    """Threshold of every draw: draw, plane, threshold, censored."""
    last = rows.drop_duplicates(["draw", "plane"])
    return last[["draw", "plane", "threshold", "censored"]].reset_index(drop=True)


def architectures(rows: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy: architecture, plane, mean, lower, upper, draws; means of share, participation, best."""
    found = []
    for architecture, part in rows.groupby("architecture", sort=False):
        kinds = [kind for kind in KINDS if kind in set(part["plane"])]
        means = part.groupby("plane")[["share", "participation", "best"]].mean().loc[kinds]
        columns = {str(name): means[name].to_numpy() for name in means}
        spread = stats.mean(by_draw(part, "test", kinds))
        found.append(spread.frame("draws", architecture=architecture, plane=kinds, **columns))
    return pd.concat(found, ignore_index=True)


def maps(rows: pd.DataFrame, kinds: Sequence[str], draws: int, side: int, outer: float) -> pd.DataFrame:
    """Decision maps of the first draws: plane, draw, u1, u2, logit."""
    line = np.linspace(-1.3 * outer, 1.3 * outer, side)
    second, first = np.meshgrid(line, line, indexing="ij")
    chosen = rows[rows["plane"].isin(kinds) & (rows["net"] == 0) & (rows["draw"] < draws)]
    tables = [
        pd.DataFrame(
            {"plane": row["plane"], "draw": row["draw"], "u1": first.ravel(), "u2": second.ravel(), "logit": row["map"]}
        )
        for _, row in chosen.iterrows()
    ]
    return pd.concat(tables, ignore_index=True)


def film(rows: pd.DataFrame, side: int, outer: float) -> pd.DataFrame:
    """Decision maps of the first draw at a few steps of training: plane, step, test, u1, u2, logit."""
    line = np.linspace(-1.3 * outer, 1.3 * outer, side)
    second, first = np.meshgrid(line, line, indexing="ij")
    tables = []
    for _, row in rows[(rows["draw"] == rows["draw"].min()) & (rows["net"] == 0)].iterrows():
        last = len(row["steps"]) - 1
        for look in np.unique(np.linspace(0, last, FILM_LOOKS).round().astype(int)):
            columns = {"u1": first.ravel(), "u2": second.ravel(), "logit": row["maps"][look]}
            shared = {"plane": row["plane"], "step": row["steps"][look], "test": row["history"][look]}
            tables.append(pd.DataFrame(shared | columns))
    return pd.concat(tables, ignore_index=True)


def _spearman(part: pd.DataFrame) -> float:
    """Over the planes of a draw; 0 where accuracy is the same on all of them."""
    planes = part.groupby("plane")[["share", "test"]].mean()
    return _rank_correlation(planes["share"], planes["test"])


def _rank_correlation(first: pd.Series, second: pd.Series) -> float:
    if first.nunique() < 2 or second.nunique() < 2:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _partial(part: pd.DataFrame) -> float:
    """Correlation of the ranks of all planes of a draw, each less the mean of its architecture."""
    ranks = pd.DataFrame({name: rankdata(part[name]) for name in ("share", "test")}, index=part.index)
    left = ranks - ranks.groupby(part["architecture"]).transform("mean")
    return float(np.corrcoef(left["share"], left["test"])[0, 1])

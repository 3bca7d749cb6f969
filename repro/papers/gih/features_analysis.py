"""Features along eigenvectors: rows of `papers.gih.features` to numbers and tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

MATCHED = 0.01  # largest difference of two shares of variance that count as equal
TOP_PLACES, BOTTOM_PLACES = 0.05, 0.9  # cues up to here are along top, from here along bottom eigenvectors


def index_correlation(rows: pd.DataFrame) -> stats.Finding:
    """Spearman correlation of the eigenvector's index with test accuracy in each draw, mean over draws."""
    found = [_spearman(part) for _, part in rows.groupby("draw")]
    upper = [_spearman(part[part["place"] <= 0.7]) for _, part in rows.groupby("draw")]
    ends = {name: float(rows["test"][rows["place"] == place].mean()) for name, place in _ends(rows).items()}
    return stats.Finding(
        stats.mean(found),
        ends | {"first_70_percent": float(np.mean(upper)), "lowest_train": float(rows["train"].min())},
    )


def reliance_difference(rows: pd.DataFrame) -> stats.Finding:
    """Share of points that follow the cue against the circle, top less bottom eigenvectors, mean over draws."""
    top = rows[rows["place"] <= TOP_PLACES].groupby("draw")["reliance"].mean().to_numpy(float)
    bottom = rows[rows["place"] >= BOTTOM_PLACES].groupby("draw")["reliance"].mean().to_numpy(float)
    return stats.Finding(stats.mean(top - bottom), {"top": float(top.mean()), "bottom": float(bottom.mean())})


def removal_cost(rows: pd.DataFrame, count: int) -> stats.Finding:
    """Accuracy without random directions less that without the first of G S G, as many of equal variance.

    Withheld where no random directions of equal variance were found in a draw.
    """
    part = rows[(rows["experiment"] == "removal") & (rows["count"] == count)]
    tests = part.pivot(index="draw", columns="choice", values="test")
    variance = part.groupby("choice")["variance"].mean()
    untouched = rows["test"][rows["choice"] == "none"].mean()
    values = {
        "untouched": float(untouched),
        "geometry": float(tests["geometry"].mean()),
        "random": float(tests["random"].mean()),
        "variance_geometry": float(variance["geometry"]),
        "variance_random": float(variance["random"]),
    }
    shares = part.pivot(index="draw", columns="choice", values="variance")
    apart = int(((shares["random"] - shares["geometry"]).abs() > MATCHED).sum())
    reason = f"in {apart} of {len(shares)} draws random directions do not hold as much variance" if apart else ""
    return stats.Finding(stats.mean((tests["random"] - tests["geometry"]).to_numpy(float)), values, reason)


def pruning_gain(rows: pd.DataFrame) -> stats.Finding:
    """Accuracy with the half of largest score less that with a random half, mean over draws; more beside it."""
    tests = rows[rows["experiment"] == "pruning"].pivot(index="draw", columns="choice", values="test")
    values = {str(choice): float(tests[choice].mean()) for choice in tests}
    values["within_gain"] = float((tests["within"] - tests["random"]).mean())
    balance = rows[(rows["experiment"] == "pruning") & (rows["choice"] == "score")]["classes"].mean()
    return stats.Finding(
        stats.mean((tests["score"] - tests["random"]).to_numpy(float)), values | {"score_balance": float(balance)}
    )


def along_index(tables: Mapping[tuple[str, str], pd.DataFrame], places: Sequence[float]) -> pd.DataFrame:
    """Test accuracy by place: network, label, place, mean, lower, upper, draws."""
    found = []
    for (network, label), rows in tables.items():
        table = rows.pivot(index="draw", columns="place", values="test")[list(places)]
        spread = stats.mean(table.to_numpy(float))
        found.append(spread.frame("draws", network=network, label=label, place=list(places)))
    return pd.concat(found, ignore_index=True)


def cues(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """By place of the cue: network, quantity (reliance, linear, circle), place, mean, lower, upper, draws."""
    found = []
    for network, rows in tables.items():
        for quantity in ("reliance", "linear", "circle"):
            table = rows.pivot(index="draw", columns="place", values=quantity)
            spread = stats.mean(table.to_numpy(float))
            found.append(spread.frame("draws", network=network, quantity=quantity, place=table.columns.to_numpy(float)))
    return pd.concat(found, ignore_index=True)


def choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each choice: experiment, choice, count, mean, lower, upper, draws, variance, classes.

    Numbers of images differ a little from draw to draw where each class is halved: theirs is the least.
    """
    least = rows.groupby(["experiment", "choice"])["count"].transform("min")
    counted = rows.assign(count=rows["count"].where(rows["experiment"] == "removal", least))
    found = []
    for (experiment, choice, count), part in counted.groupby(["experiment", "choice", "count"], sort=False):
        fixed = {"experiment": experiment, "choice": choice, "count": count}
        beside = {name: part[name].mean() for name in ("variance", "classes")}
        found.append(stats.mean(part["test"].to_numpy(float)).frame("draws", **fixed, **beside))
    return pd.concat(found, ignore_index=True)


def _spearman(part: pd.DataFrame) -> float:
    """0 where accuracy is the same everywhere."""
    if part["test"].nunique() < 2:
        return 0.0
    return float(spearmanr(part["index"], part["test"]).statistic)


def _ends(rows: pd.DataFrame) -> dict[str, float]:
    places = np.sort(rows["place"].unique())
    return {"first": float(places[0]), "last": float(places[-1])}

"""Does the volume peak where the class changes? Rows of `papers.magnification.segments` to one number a net.

Distances are along a segment of length 1. Every statistic is formed within a net, over its segments, then over nets.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from repro.papers.magnification.segments import TRAINED, UNTRAINED
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

OFF_CENTRE = 0.1  # distance of a crossing from the middle, from which t = 1/2 is no good guess
SHUFFLES = 200


def crossed(rows: pd.DataFrame, state: str, rank: int, kind: str = "between") -> pd.DataFrame:
    """Segments of one kind whose class changes, of one state and rank, by net and segment."""
    chosen = rows[(rows["kind"] == kind) & (rows["state"] == state) & (rows["rank"] == rank)]
    return chosen.dropna(subset=["crossing"]).sort_values(["net", "segment"])


def by_net(table: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Array:
    """One number for each net."""
    return np.array([statistic(part) for _, part in table.groupby("net")])


def distance(table: pd.DataFrame) -> float:
    """Mean distance of the peak from the crossing."""
    return float((table["peak"] - table["crossing"]).abs().mean())


def constant_distance(table: pd.DataFrame) -> float:
    """Mean distance of the best constant guess, the median of the crossings, from these."""
    return float((table["crossing"] - table["crossing"].median()).abs().mean())


def middle_distance(table: pd.DataFrame) -> float:
    """Mean distance of t = 1/2 from the crossings."""
    return float((table["crossing"] - 0.5).abs().mean())


def shuffled_distance(table: pd.DataFrame) -> float:
    """Mean distance of the peak from the crossings of other segments, over 200 shuffles drawn from the net's number."""
    generator = np.random.default_rng(int(table["net"].iloc[0]))
    crossings, peaks = table["crossing"].to_numpy(), table["peak"].to_numpy()
    return float(np.mean([np.abs(peaks - generator.permutation(crossings)).mean() for _ in range(SHUFFLES)]))


def offset_distance(table: pd.DataFrame) -> float:
    """Mean distance of the peak from the crossing when their common offset, its median, is taken off."""
    offset = table["peak"] - table["crossing"]
    return float((offset - offset.median()).abs().mean())


def hits(table: pd.DataFrame) -> float:
    """Share of segments whose peak lies within 0.1 of the crossing."""
    return float(((table["peak"] - table["crossing"]).abs() < OFF_CENTRE).mean())


def rank_correlation(table: pd.DataFrame) -> float:
    """Spearman's correlation of peak and crossing; 0 where one of them does not vary."""
    if table["peak"].nunique() < 2 or table["crossing"].nunique() < 2:
        return 0.0
    return float(spearmanr(table["peak"], table["crossing"]).statistic)


def off_centre(table: pd.DataFrame) -> pd.DataFrame:
    """Segments whose crossing lies more than 0.1 from the middle."""
    return table[(table["crossing"] - 0.5).abs() > OFF_CENTRE]


def over_untrained(rows: pd.DataFrame, rank: int) -> stats.Finding:
    """Distance of the peak from the trained net's crossing, trained over untrained."""
    trained, untrained = (by_net(crossed(rows, state, rank), distance) for state in (TRAINED, UNTRAINED))
    values = {"trained": trained.mean(), "untrained": untrained.mean()}
    return stats.Finding(stats.geometric_mean(trained / untrained), values)


def over_constant(rows: pd.DataFrame, rank: int) -> stats.Finding:
    """Distance of the peak from the crossing over that of the best constant guess; others beside it."""
    table = crossed(rows, TRAINED, rank)
    far = off_centre(table)
    values = {
        "constant": by_net(table, constant_distance).mean(),
        "middle": by_net(table, middle_distance).mean(),
        "shuffled": by_net(table, shuffled_distance).mean(),
        "offset": by_net(table, offset_distance).mean(),
        "hits": by_net(table, hits).mean(),
        "off_centre": by_net(far, distance).mean() / by_net(far, middle_distance).mean() if len(far) else np.nan,
    }
    ratio = by_net(table, distance) / by_net(table, constant_distance)
    return stats.Finding(stats.geometric_mean(ratio), values)


def correlation(rows: pd.DataFrame, rank: int) -> stats.Finding:
    """Rank correlation of peak and crossing over segments, and what else is asked of the same segments."""
    tables = {state: crossed(rows, state, rank) for state in (TRAINED, UNTRAINED)}
    rho = {state: by_net(table, rank_correlation) for state, table in tables.items()}
    contrasts = {state: table.set_index(["net", "segment"])["contrast"].dropna() for state, table in tables.items()}
    same = rows[(rows["kind"] == "same") & (rows["state"] == TRAINED) & (rows["rank"] == rank)]
    values = {
        "untrained": fisher_mean(rho[UNTRAINED]).value,
        "contrast_positive": (contrasts[TRAINED] > 0).mean(),
        "contrast_positive_untrained": (contrasts[UNTRAINED] > 0).mean(),
        "contrast_increased": (contrasts[TRAINED] - contrasts[UNTRAINED] > 0).mean(),
        "interior": interior(tables[TRAINED]["peak"]),
        "untrained_interior": interior(tables[UNTRAINED]["peak"]),
        "same_class_interior": interior(same["peak"]),
        "segments": len(tables[TRAINED]),
    }
    return stats.Finding(fisher_mean(rho[TRAINED]), values)


def interior(peaks: pd.Series) -> float:
    """Share of peaks at 0.1 < t < 0.9; NaN of none."""
    return float(peaks.between(0.1, 0.9, inclusive="neither").mean())


def fisher_mean(correlations: Array) -> stats.Estimate:
    """Mean of Fisher's z of one correlation a net, mapped back; a correlation of ±1 counts as ±0.999."""
    z = np.arctanh(np.clip(correlations, -0.999, 0.999))
    return stats.mean(z).map(np.tanh)


def same_class_range(rows: pd.DataFrame, rank: int) -> stats.Finding:
    """Median range of the log-volume of trained nets, on segments within a class over those between classes.

    Beside it the same ratio of untrained nets: images of one class are nearer to each other, whatever the net.
    """
    chosen = rows[rows["rank"] == rank]
    medians = chosen.groupby(["state", "kind", "net"])["range"].median()
    same, between = (medians[TRAINED, kind].to_numpy(float) for kind in ("same", "between"))
    untrained = medians[UNTRAINED, "same"].to_numpy(float) / medians[UNTRAINED, "between"].to_numpy(float)
    values = {"same": same.mean(), "between": between.mean(), "untrained": stats.geometric_mean(untrained).value}
    return stats.Finding(stats.geometric_mean(same / between), values)


def distances(rows: pd.DataFrame, rank: int, **columns: str) -> pd.DataFrame:
    """Mean distance from the trained net's crossing: place, segments, mean, lower, upper, nets, and `columns`.

    Places: peak of the trained net, as it is, less its common offset, and among other segments' crossings; peak of the
    untrained net, t = 1/2 and the best constant guess; of all segments, and of those whose crossing is off the centre.
    """
    trained, untrained = (crossed(rows, state, rank) for state in (TRAINED, UNTRAINED))
    places = {
        "peak, trained": (trained, distance),
        "trained, less offset": (trained, offset_distance),
        "peak, untrained": (untrained, distance),
        "t = 1/2": (trained, middle_distance),
        "best constant": (trained, constant_distance),
        "peak, shuffled": (trained, shuffled_distance),
    }
    tables = []
    for segments, choose in (("all", lambda table: table), ("off centre", off_centre)):
        for place, (table, statistic) in places.items():
            chosen = choose(table)
            if len(chosen):
                found = stats.geometric_mean(np.maximum(by_net(chosen, statistic), 1e-6))
                tables.append(found.frame("nets", place=[place], segments=segments))
    return pd.concat(tables, ignore_index=True).assign(**columns)


STATISTICS: dict[str, Callable[[pd.DataFrame, int], stats.Finding]] = {  # the three of every claim on location, by part
    "over untrained": over_untrained,
    "over a constant": over_constant,
    "rank correlation": correlation,
}

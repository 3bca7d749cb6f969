"""Nets trained without labels: rows of `papers.magnification.selfsupervised` to numbers and tables."""

import numpy as np
import pandas as pd

from repro.papers.magnification import segments_analysis
from repro.papers.magnification.segments import TRAINED, UNTRAINED
from repro.papers.magnification.segments_analysis import by_net, crossed, fisher_mean, rank_correlation
from repro.stats import estimate as stats

NAMES = {"barlow": "Barlow Twins", "simclr": "SimCLR", "supervised": "by labels"}
OFFSETS = np.linspace(-0.5, 0.5, 21)  # from the crossing, along a segment


def segments(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """The segments of one way of training."""
    return rows[(rows["quantity"] == "segment") & (rows["method"] == method)]


def contrast(rows: pd.DataFrame, rank: int) -> stats.Finding:
    """Mean contrast at the crossing over segments between classes, trained, in decades; untrained beside it."""
    means = {state: by_net(crossed(rows, state, rank), _mean_contrast) for state in (TRAINED, UNTRAINED)}
    values = {"untrained": means[UNTRAINED].mean(), "positive": _share_positive(crossed(rows, TRAINED, rank))}
    return stats.Finding(stats.mean(means[TRAINED]), values)


def _mean_contrast(table: pd.DataFrame) -> float:
    return float(table["contrast"].mean())


def _share_positive(table: pd.DataFrame) -> float:
    return float((table["contrast"].dropna() > 0).mean())


def probes(rows: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of the probe: method, state, mean, lower, upper, nets."""
    chosen = rows[rows["quantity"] == "accuracy"]
    tables = [
        stats.mean(part.sort_values("net")["value"]).frame("nets", method=[method], state=state)
        for (method, state), part in chosen.groupby(["method", "state"], sort=False)
    ]
    return pd.concat(tables, ignore_index=True)


def losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Loss along training without labels, over that of the first epoch: method, net, epoch, loss."""
    chosen = rows[rows["quantity"] == "loss"].sort_values(["method", "net", "epoch"])
    first = chosen.groupby(["method", "net"])["value"].transform("first")
    return chosen.assign(loss=chosen["value"] / first)[["method", "net", "epoch", "loss"]].reset_index(drop=True)


def profiles(rows: pd.DataFrame, ranks: dict[int, str]) -> pd.DataFrame:
    """Log-volume about the crossing: method, state, rank, offset, mean, lower, upper, nets.

    Of segments between classes with one crossing, each less its own mean (decades), averaged at equal distances from
    the crossing within a net, then over nets; offsets that some net has no segment for are left out.

    Args:
        rows: of the cell.
        ranks: their names.
    """
    tables = []
    for method in NAMES:
        for state in (UNTRAINED, TRAINED):
            for rank, name in ranks.items():
                table = crossed(segments(rows, method), state, rank)
                curves = np.stack([_profile(part) for _, part in table.groupby("net")])  # (nets, offsets)
                common = np.isfinite(curves).all(0)
                found = stats.mean(curves[:, common])
                tables.append(found.frame("nets", method=method, state=state, rank=name, offset=OFFSETS[common]))
    return pd.concat(tables, ignore_index=True)


def _profile(table: pd.DataFrame) -> np.ndarray:
    """Mean over the segments of a net that have a single crossing."""
    lines = []
    for row in table.to_dict("records"):
        classes, curve = np.array(row["classes"]), np.array(row["curve"])
        if (classes[1:] != classes[:-1]).sum() == 1:
            t = np.linspace(0, 1, len(curve)) - row["crossing"]
            lines.append(np.interp(OFFSETS, t, curve - curve.mean(), left=np.nan, right=np.nan))
    if not lines:
        return np.full(len(OFFSETS), np.nan)
    stacked = np.stack(lines)
    counts = np.isfinite(stacked).sum(0)
    sums = np.nansum(stacked, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def summary(rows: pd.DataFrame, ranks: dict[int, str]) -> pd.DataFrame:
    """What is judged, of all ways of training: statistic, method, rank, state, mean, lower, upper, nets.

    Statistics: over untrained, over a constant (trained only), rank correlation, contrast (decades).
    """
    tables = []
    for method in NAMES:
        chosen = segments(rows, method)
        for rank, name in ranks.items():
            ratios = {
                "over untrained": segments_analysis.over_untrained(chosen, rank).estimate,
                "over a constant": segments_analysis.over_constant(chosen, rank).estimate,
            }
            for statistic, found in ratios.items():
                tables.append(found.frame("nets", statistic=statistic, method=[method], rank=name, state=TRAINED))
            for state in (UNTRAINED, TRAINED):
                table = crossed(chosen, state, rank)
                both = {
                    "rank correlation": fisher_mean(by_net(table, rank_correlation)),
                    "contrast": stats.mean(by_net(table, _mean_contrast)),
                }
                for statistic, found in both.items():
                    tables.append(found.frame("nets", statistic=statistic, method=[method], rank=name, state=state))
    return pd.concat(tables, ignore_index=True)


def examples(rows: pd.DataFrame, count: int, ranks: dict[int, str]) -> pd.DataFrame:
    """The first segments of net 0: method, state, rank, segment, t, log10_volume, class."""
    first = rows[(rows["net"] == 0) & (rows["kind"] == "between") & (rows["segment"] < count)]
    tables = []
    for rank, name in ranks.items():
        for row in first[first["rank"] == rank].to_dict("records"):
            columns = {"method": row["method"], "state": row["state"], "rank": name, "segment": row["segment"]}
            t = np.linspace(0, 1, len(row["curve"]))
            tables.append(pd.DataFrame(columns | {"t": t, "log10_volume": row["curve"], "class": row["classes"]}))
    return pd.concat(tables, ignore_index=True)

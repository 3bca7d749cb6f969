"""Image classifiers along segments and in planes: rows of `papers.magnification.images` to numbers and tables.

One number a net, formed over its segments or planes; then over nets. Which net is meant by a table is told by the
caller, who names it: "digits", "Fashion-MNIST, dense", ...
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from repro.papers.magnification import segments_analysis
from repro.papers.magnification.planes import plane_coordinates
from repro.papers.magnification.segments import FULL, TRAINED, UNTRAINED
from repro.papers.magnification.segments_analysis import by_net, crossed, distance, interior
from repro.stats import estimate as stats

Nets = Mapping[str, pd.DataFrame]  # rows by name


def segments(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of segments."""
    return rows[rows["quantity"] == "segment"]


def accuracies(nets: Nets) -> pd.DataFrame:
    """Mean test accuracy by net and state."""
    tables = [rows[rows["quantity"] == "accuracy"].assign(nets=name) for name, rows in nets.items()]
    return pd.concat(tables).pivot_table(index="nets", columns="state", values="value", sort=False).round(3)


def wrong_boundary(rows: pd.DataFrame) -> stats.Finding:
    """Distance of the peak from the net's crossing over that from the mid-point, on segments from misread images.

    Beside it the same of the untrained net's peak, about the same crossings.
    """
    tables = {state: crossed(segments(rows), state, FULL, "misread") for state in (TRAINED, UNTRAINED)}
    to_crossing = {state: by_net(table, distance) for state, table in tables.items()}
    to_middle = {state: by_net(table, _from_middle) for state, table in tables.items()}
    ratio = {state: stats.geometric_mean(to_crossing[state] / to_middle[state]) for state in tables}
    values = {"crossing": to_crossing[TRAINED].mean(), "middle": to_middle[TRAINED].mean()}
    values |= {"untrained": ratio[UNTRAINED].value, "segments": len(tables[TRAINED])}
    return stats.Finding(ratio[TRAINED], values)


def _from_middle(table: pd.DataFrame) -> float:
    return float((table["peak"] - 0.5).abs().mean())


def junction(rows: pd.DataFrame) -> stats.Finding:
    """Log of the volume where three classes meet over that on boundaries of two, trained; untrained beside it."""
    planes = rows[rows["quantity"] == "plane"].dropna(subset=["junction"])
    means = planes.groupby(["state", "net"])["junction"].mean()
    values = {"untrained": means[UNTRAINED].mean(), "positive": (_of(planes, TRAINED)["junction"] > 0).mean()}
    values |= {"increase": (means[TRAINED] - means[UNTRAINED]).mean(), "planes": len(_of(planes, TRAINED))}
    return stats.Finding(stats.mean(means[TRAINED].to_numpy(float)), values)


def interior_peaks(rows: pd.DataFrame) -> stats.Finding:
    """Share of segments between classes on which the untrained net peaks at 0.1 < t < 0.9; trained beside it."""
    found = segments(rows)
    chosen = found[(found["kind"] == "between") & (found["rank"] == FULL)]
    shares = {state: by_net(_of(chosen, state), lambda part: interior(part["peak"])) for state in (UNTRAINED, TRAINED)}
    return stats.Finding(stats.share_over_clusters(shares[UNTRAINED]), {"trained": shares[TRAINED].mean()})


def concavity(rows: pd.DataFrame) -> stats.Finding:
    """Largest second difference of the log-volume along lines over the largest absolute one; its range over nets."""
    lines = rows[rows["quantity"] == "line"]
    largest = []
    for _, part in lines.groupby("net"):
        second = np.diff(np.array(part["curve"].tolist()), 2, axis=1)
        largest.append(float((second.max(axis=1) / np.abs(second).max(axis=1)).max()))
    ends = min(largest), max(largest)
    return stats.Finding(
        stats.Estimate(ends[1], *ends, len(largest), "largest, and range over nets"), {"lines": len(lines)}
    )


def peaks(nets: Nets) -> pd.DataFrame:
    """Peak and crossing of segments between classes at full rank: kind, state, net, crossing, peak."""
    return _peaks(nets, "between")


def _peaks(nets: Nets, kind: str) -> pd.DataFrame:
    tables = [
        crossed(segments(rows), state, FULL, kind).assign(kind=name)
        for name, rows in nets.items()
        for state in (UNTRAINED, TRAINED)
    ]
    return pd.concat(tables, ignore_index=True)[["kind", "state", "net", "crossing", "peak"]]


def distances(nets: Nets) -> pd.DataFrame:
    """`segments_analysis.distances` at full rank of each: with the column `kind` for the name."""
    return pd.concat(
        [segments_analysis.distances(segments(rows), FULL, kind=name) for name, rows in nets.items()], ignore_index=True
    )


def within_and_between(nets: Nets) -> pd.DataFrame:
    """Segments of each net at full rank: kind, segments (same, between), state, net, range, interior.

    Range is the median over segments of that of the log-volume, in decades; interior the share that peaks inside.
    """
    tables = []
    for name, rows in nets.items():
        found = segments(rows)
        chosen = found[(found["rank"] == FULL) & found["kind"].isin(["same", "between"])]
        means = chosen.groupby(["kind", "state", "net"], sort=False).agg(
            range=("range", "median"), interior=("peak", interior)
        )
        tables.append(means.reset_index().rename(columns={"kind": "segments"}).assign(kind=name))
    return pd.concat(tables, ignore_index=True)[["kind", "segments", "state", "net", "range", "interior"]]


def examples(nets: Nets, count: int = 2) -> pd.DataFrame:
    """The first segments of net 0 with their images: kind, segment, part, state, x, y, value, class.

    Part "curve": x is t, y the log-volume less its mean, class what the trained net reads; "left", "middle", "right":
    pixels in x and y with their value.
    """
    tables = []
    for name, rows in nets.items():
        own = rows[rows["net"] == rows["net"].min()]
        chosen = segments(own)
        chosen = chosen[(chosen["kind"] == "between") & (chosen["rank"] == FULL) & (chosen["segment"] < count)]
        for row in chosen.to_dict("records"):
            curve = np.array(row["curve"])
            columns = {"kind": name, "segment": row["segment"], "part": "curve", "state": row["state"]}
            columns |= {"x": np.linspace(0, 1, len(curve)), "y": curve - curve.mean(), "value": np.nan}
            tables.append(pd.DataFrame(columns | {"class": row["classes"]}))
        pictures = own[(own["quantity"] == "picture") & (own["segment"] < count)]
        for row in pictures.to_dict("records"):
            columns = {"kind": name, "segment": row["segment"], "part": row["place"], "state": ""}
            tables.append(_pixels(row["pixels"]).assign(**columns))
    return pd.concat(tables, ignore_index=True)[["kind", "segment", "part", "state", "x", "y", "value", "class"]]


def planes(nets: Nets) -> pd.DataFrame:
    """The first plane of net 0, trained: kind, part, x, y, value.

    Parts: class, entropy, log volume, log volume untrained, and images 1 to 3 with their pixels.
    """
    tables = []
    for name, rows in nets.items():
        shown = rows[(rows["quantity"] == "plane") & (rows["plane"] == 0) & (rows["net"] == rows["net"].min())]
        trained, untrained = (_of(shown, state).iloc[0] for state in (TRAINED, UNTRAINED))
        points = plane_coordinates(round(np.sqrt(len(trained["classes"]))))
        parts = {"class": trained["classes"], "entropy": trained["entropy"], "log volume": trained["log_volume"]}
        parts["log volume, untrained"] = untrained["log_volume"]
        for part, values in parts.items():
            tables.append(
                pd.DataFrame({"kind": name, "part": part, "x": points[:, 0], "y": points[:, 1], "value": values})
            )
        for number, pixels in enumerate(trained["pixels"], 1):
            tables.append(_pixels(pixels).assign(kind=name, part=f"image {number}"))
    return pd.concat(tables, ignore_index=True)[["kind", "part", "x", "y", "value"]]


def junctions(nets: Nets) -> pd.DataFrame:
    """Mean of each net over its planes: kind, state, net, junction (decades)."""
    tables = []
    for name, rows in nets.items():
        planes = rows[rows["quantity"] == "plane"].dropna(subset=["junction"])
        means = planes.groupby(["state", "net"])["junction"].mean().reset_index()
        tables.append(means.assign(kind=name, junction=means["junction"] / np.log(10)))
    return pd.concat(tables, ignore_index=True)[["kind", "state", "net", "junction"]]


def misread(nets: Nets) -> pd.DataFrame:
    """Segments from misread images: kind, state, net, crossing, peak."""
    return _peaks(nets, "misread")


def lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Log-volume along straight lines of net 0, less its largest value: state, line, t, log10_volume."""
    chosen = rows[(rows["quantity"] == "line") & (rows["net"] == rows["net"].min())]
    tables = []
    for row in chosen.to_dict("records"):
        curve = np.array(row["curve"])
        t = np.linspace(0, 1, len(curve))
        columns = {"state": row["state"], "line": row["line"], "t": t, "log10_volume": curve - curve.max()}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def spectra(nets: Nets) -> pd.DataFrame:
    """Singular values at one test image: kind, state, number (from 1), log10_value."""
    tables = []
    for name, rows in nets.items():
        for row in rows[rows["quantity"] == "spectrum"].to_dict("records"):
            values = row["values"]
            columns = {"kind": name, "state": row["state"], "number": np.arange(1, len(values) + 1)}
            tables.append(pd.DataFrame(columns | {"log10_value": values}))
    return pd.concat(tables, ignore_index=True)


def _of(rows: pd.DataFrame, state: str) -> pd.DataFrame:
    return rows[rows["state"] == state]


def _pixels(values: list[float]) -> pd.DataFrame:
    """Pixels of a square image from top left: x, y, value."""
    side = round(np.sqrt(len(values)))
    row, column = np.divmod(np.arange(len(values)), side)
    return pd.DataFrame({"x": column, "y": row, "value": values, "class": np.nan})

"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import rotation_plots as plots
from repro.papers.gih.study import KINDS

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)
LEVELS = dict(zip(KINDS, (0.93, 0.85, 0.8, 0.78, 0.58, 0.54, 0.8), strict=True))


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean, half=0.02):
    return frame.assign(mean=mean, lower=mean - half, upper=mean + half, draws=8)


def disc(frame, level):
    """A logit that is positive inside an ellipse."""
    return frame.assign(logit=level - frame["u1"] ** 2 - 0.3 * frame["u2"] ** 2)


@regression
def test_rotation_accuracies():
    table = combinations(network=["dense", "residual"], plane=list(KINDS))
    mean = table["plane"].map(LEVELS).where(table["network"] == "residual", 1.0)
    return plots.accuracies(with_interval(table, mean).assign(train=1.0))


@regression
def test_rotation_maps():
    line = np.linspace(-3.25, 3.25, 15)
    table = combinations(plane=["top", "mixed", "random"], draw=range(3), u2=line, u1=line)
    return plots.maps(disc(table, 1.0 + 0.5 * table["draw"]), outer=2.5, inner=0.25)


@regression
def test_rotation_film():
    line = np.linspace(-3.25, 3.25, 9)
    table = combinations(plane=["top", "random"], step=[0, 31, 62, 93], u2=line, u1=line)
    return plots.film(disc(table, table["step"] / 30).assign(test=0.5 + table["step"] / 200), outer=2.5, inner=0.25)


@regression
def test_rotation_arcs():
    table = combinations(plane=list(KINDS), arc=["arc_1", "arc_2"])
    return plots.arcs(with_interval(table, table["plane"].map(LEVELS) - 0.3 * (table["arc"] == "arc_2")))


@regression
def test_rotation_shares():
    table = combinations(draw=range(4), plane=list(KINDS))
    share = table["plane"].map(dict(zip(KINDS, (15.0, 0.5, 0.3, 0.07, 0.06, 0.4, 0.001), strict=True)))
    return plots.shares(table.assign(share=share * (1 + 0.1 * table["draw"]), test=table["plane"].map(LEVELS)))


@regression
def test_rotation_angles():
    table = combinations(network=["residual", "dense"], angle=[0.0, 30.0, 60.0, 90.0])
    return plots.angles(with_interval(table, np.where(table["network"] == "dense", 1.0, 0.9 - table["angle"] / 240)))


@regression
def test_rotation_radii():
    table = combinations(
        series=["residual, top", "residual, random", "dense, top", "dense, random"], radius=[2.0, 3.0, 4.0]
    )
    level = table["series"].map(
        {"residual, top": 0.7, "residual, random": 0.5, "dense, top": 0.9, "dense, random": 0.88}
    )
    return plots.radii(with_interval(table, np.minimum(1.0, level + 0.05 * (table["radius"] - 2))))


@regression
def test_rotation_thresholds():
    table = combinations(draw=range(8), plane=["top", "random"])
    size = np.where(table["plane"] == "top", 4000, 16000) * np.where(table["draw"] % 3 == 0, 1, 2)
    return plots.thresholds(table.assign(threshold=size, censored=size > 20000))


@regression
def test_rotation_architectures():
    names = [f"{head} head, stride {stride}" for head in ("average", "flat") for stride in (2, 8)]
    table = combinations(architecture=names, plane=["top", "middle", "random"])
    mean = table["plane"].map(LEVELS) - 0.02 * table["architecture"].map(names.index)
    share = table["plane"].map({"top": 15.0, "middle": 0.06, "random": 0.4})
    return plots.architectures(with_interval(table, mean).assign(share=share, participation=10.0, best=mean + 0.01))

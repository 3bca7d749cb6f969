"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.magnification import curvature_plots as plots
from repro.papers.magnification.planar import square

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)

STATES = ["untrained", "trained"]


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


@regression
def test_curvature_printed():
    table = combinations(formula=list(plots.FORMULAS), net=[0, 1], point=range(5))
    return plots.printed(table.assign(true=1.0, ratio=np.where(table["formula"] == "B.70", 1.0, 3.0)))


@regression
def test_curvature_other_maps():
    table = combinations(surface=list(plots.SURFACES), point=range(8))
    ratio = table["surface"].map({"sphere": 1.0, "paraboloid": 0.3, "deep net": -20.0}) * (1 + 0.05 * table["point"])
    return plots.other_maps(table.assign(true=10.0 ** (table["point"] - 3), ratio=ratio))


@regression
def test_curvature_both_sides():
    table = combinations(
        activation=["erf", "quadratic"], formula=["true", "as printed"], net=["n = 100", "infinite width"],
        length=[0.0, 1.0, 2.0],
    )  # fmt: skip
    mean = -table["length"] * np.where(table["formula"] == "true", 1.0, 3.0)
    limit = table["net"] == "infinite width"
    ends = {"lower": (mean - 0.2).mask(limit), "upper": (mean + 0.2).mask(limit)}
    return plots.both_sides(table.assign(mean=mean, **ends, draws=np.where(limit, 0, 25)))


@regression
def test_curvature_maps():
    points = square(12, 1.5)
    ricci = np.sign(points[:, 0]) * 10 ** (2 * np.abs(points[:, 0]))
    tables = [
        pd.DataFrame(
            {"panel": panel, "x1": points[:, 0], "x2": points[:, 1], "ricci": scale * ricci, "margin": points[:, 1]}
        )
        for panel, scale in (("width 20, untrained", 0.1), ("width 20, trained", 10.0))
    ]
    return plots.curvature_maps(pd.concat(tables))


@regression
def test_curvature_near_and_far():
    table = combinations(width=[20, 250], state=STATES, about=list(plots.ABOUT), net=range(4))
    level = np.where((table["state"] == "trained") & (table["about"] == "boundary"), 3.0, 1.2)
    return plots.near_and_far(table.assign(ratio=level * (1 + 0.1 * table["net"])))


@regression
def test_curvature_distributions():
    table = combinations(width=[20, 250], state=STATES, net=range(5))
    scale = np.where(table["state"] == "trained", 10.0, 1.0) * (1 + table["net"])
    return plots.distributions(table.assign(low=-5 * scale, median=-scale, high=2 * scale))

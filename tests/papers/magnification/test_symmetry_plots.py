"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.magnification import symmetry_plots as plots
from repro.papers.magnification.symmetry_analysis import INFINITE, PRINTED

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean, share=0.1):
    return frame.assign(mean=mean, lower=mean * (1 - share), upper=mean * (1 + share))


@regression
def test_symmetry_convergence():
    table = combinations(
        quantity=list(plots.QUANTITIES), activation=["erf", "quadratic", "sigmoid"], width=[100, 1000, 10000]
    )
    level = table["activation"].map({"erf": 2.0, "quadratic": 4.0, "sigmoid": 1.0})
    return plots.convergence(with_interval(table, level * table["width"] ** -0.5).assign(draws=16), largest=0.02)


@regression
def test_symmetry_depths():
    table = combinations(depth=[1, 2, 3], width=[100, 300, 1000])
    return plots.depths(with_interval(table, 2 * table["depth"] * table["width"] ** -0.5).assign(draws=6))


@regression
def test_symmetry_profiles():
    lengths = np.linspace(0, 2, 9)
    table = combinations(
        quantity=["volume", "ricci"], activation=["erf", "quadratic"],
        net=["n = 50", "n = 100", "n = 250", "n = 500", "n = 1000", INFINITE, PRINTED], length=lengths,
    )  # fmt: skip
    sign = np.where(table["quantity"] == "ricci", -1.0, 1.0)
    scale = table["net"].map({"n = 50": 1.3, "n = 100": 1.2, "n = 250": 1.1, PRINTED: 3.0}).fillna(1.0)
    table = with_interval(table, sign * scale * (1 + table["length"])).assign(draws=25)
    limit = table["net"].isin([INFINITE, PRINTED])
    table.loc[limit, ["lower", "upper"]] = np.nan
    table.loc[limit, "draws"] = 0
    return plots.profiles(table[(table["net"] != PRINTED) | (table["quantity"] == "ricci")])

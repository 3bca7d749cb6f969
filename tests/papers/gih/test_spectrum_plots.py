"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import spectrum_plots as plots
from repro.papers.gih.looks import NETWORKS

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean, share=0.1):
    return frame.assign(mean=mean, lower=mean * (1 - share), upper=mean * (1 + share), draws=8)


@regression
def test_spectrum_spectra():
    table = combinations(network=list(NETWORKS), index=np.arange(1, 65))
    power = table["network"].map(dict(zip(NETWORKS, (2.0, 0.0, 1.5, 1.0, 0.7), strict=True)))
    return plots.spectra(with_interval(table, 10.0**power * table["index"] ** -power))


@regression
def test_spectrum_summary():
    table = combinations(network=list(NETWORKS), quantity=list(plots.QUANTITIES))
    return plots.summary(
        with_interval(table, table["network"].map(dict(zip(NETWORKS, (0.04, 1.0, 0.1, 0.06, 0.14), strict=True))))
    )


@regression
def test_spectrum_strides():
    table = combinations(
        variant=["linear", "zero padding", "flat head", "GELU"], stride=[1, 2, 4, 8], quantity=list(plots.RANKS)
    )
    power = table["variant"].map({"linear": 2.0, "zero padding": 2.2, "flat head": 0.2, "GELU": 1.0})
    return plots.strides(with_interval(table, 2.0 * table["stride"] ** power))


@regression
def test_spectrum_fourier():
    table = combinations(network=list(NETWORKS), first=[1, 5, 9, 13])
    return plots.fourier(with_interval(table, 0.9 - 0.05 * table["first"]).assign(chance=0.25))


@regression
def test_spectrum_pictures():
    table = combinations(network=["residual", "dense"], vector=[1, 2, 3], row=range(6), column=range(6))
    return plots.pictures(table.assign(value=np.cos(table["row"] * table["vector"]) * np.sin(table["column"] + 1)))

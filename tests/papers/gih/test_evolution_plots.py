"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import evolution_plots as plots
from repro.papers.gih.evolution import BASELINES, CANDIDATES

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean, half):
    return frame.assign(mean=mean, lower=mean - half, upper=mean + half, draws=8)


@regression
def test_gih_evolution_start():
    dense = combinations(kind=["dense"], nonlinearity=["linear", "GELU", "ReLU"], width=[64, 256], candidate=CANDIDATES)
    residual = combinations(
        kind=["residual"], nonlinearity=["linear", "GELU", "ReLU"], width=[8, 16], candidate=CANDIDATES
    )
    table = pd.concat([dense, residual], ignore_index=True)
    level = table["candidate"].map(dict(zip(CANDIDATES, (0.95, 0.93, 0.6, 0.55, 0.3), strict=True)))
    return plots.start(with_interval(table, level - 2 / table["width"], 0.04), least=0.9)


@regression
def test_gih_evolution_during():
    table = combinations(kind=["dense", "residual"], labels=["real", "random"], baseline=BASELINES, step=[0, 10, 20])
    level = table["baseline"].map(dict(zip(BASELINES, (0.4, 0.2, 1.0), strict=True)))
    return plots.during(with_interval(table, level * np.exp(-table["step"] / 20), 0.05))


@regression
def test_gih_evolution_controls():
    sign = combinations(quantity=["sign"], kind=["dense", "residual"], nonlinearity=["linear", "GELU", "ReLU"])
    labels = combinations(quantity=["labels"], kind=["dense", "residual"], nonlinearity=["GELU"])
    table = pd.concat([with_interval(sign, -0.8, 0.05), with_interval(labels, 0.01, 0.02)], ignore_index=True)
    return plots.controls(table, reach=0.05)

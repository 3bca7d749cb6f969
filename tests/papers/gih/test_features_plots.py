"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import features_plots, invariance_plots

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean, half=0.02):
    return frame.assign(mean=mean, lower=mean - half, upper=mean + half, draws=8)


@regression
def test_features_along_index():
    table = combinations(
        network=["residual", "dense"], label=["linear", "quadratic", "sinusoidal"], place=[0.0, 0.1, 0.5, 1.0]
    )
    fall = np.where(table["network"] == "dense", 0.0, 0.3)
    return features_plots.along_index(with_interval(table, 0.95 - fall * table["place"]))


@regression
def test_features_cues():
    table = combinations(network=["residual", "dense"], quantity=list(features_plots.QUANTITIES), place=[0.0, 0.5, 1.0])
    slope = table["quantity"].map({"reliance": -0.7, "linear": -0.4, "circle": 0.1})
    return features_plots.cues(with_interval(table, 0.88 + slope * table["place"]))


@regression
def test_features_choices():
    removal = [
        ("none", 0, 0.85),
        ("geometry", 16, 0.83),
        ("random", 16, 0.84),
        ("geometry", 64, 0.8),
        ("random", 64, 0.81),
    ]
    pruning = [(choice, 1500, 0.7 + 0.03 * n) for n, choice in enumerate(features_plots.KEPT)]
    table = pd.DataFrame(
        [
            {"experiment": name, "choice": choice, "count": count, "level": level}
            for name, group in (("removal", removal), ("pruning", pruning))
            for choice, count, level in group
        ]
    ).assign(variance=0.3, classes=0.5)
    return features_plots.choices(with_interval(table, table["level"]).drop(columns="level"))


@regression
def test_invariance_along():
    table = combinations(
        setting=["residual, SGD", "dense"],
        data=["aligned", "flipped"],
        quantity=["speed", "train"],
        share=[0.2, 0.6, 1.0],
    )
    level = np.where(table["quantity"] == "speed", 0.2 - 0.1 * table["share"], 0.5 + 0.4 * table["share"])
    return invariance_plots.along(with_interval(table, level - 0.02 * (table["data"] == "flipped"), half=0.01))


@regression
def test_invariance_ratios():
    table = pd.DataFrame({"setting": ["residual, SGD", "residual, Adam", "dense"], "corrected": [np.nan, 0.8, 1.0]})
    return invariance_plots.ratios(with_interval(table, np.array([20.0, 0.8, 1.0]), half=0.1))

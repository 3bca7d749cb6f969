"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.compression import kernels_plots as plots

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)

LEVELS = {"initial": 0.2, "final": 0.6, "initial, labels permuted": 0.08, "final, labels permuted": 0.1}
SIZES = np.array([128, 256, 512])


def by_dimension(tables):
    return pd.concat([table.assign(dimension=d) for d in (5, 10) for table in tables], ignore_index=True)


def with_interval(positions, mean, **columns):
    return pd.DataFrame({**positions, "mean": mean, "lower": 0.9 * mean, "upper": 1.1 * mean, "seeds": 10, **columns})


@regression
def test_before_and_after():
    quantities = ("information", "share", "alignment")
    tables = [
        with_interval({"train_size": SIZES}, np.full(3, level), subject=subject, quantity=quantity)
        for quantity in quantities
        for subject, level in LEVELS.items()
    ]
    return plots.before_and_after(by_dimension(tables))


@regression
def test_spectra():
    rank = np.arange(1, 11)
    tables = [
        with_interval({"rank": rank}, level * (1 / rank if quantity == "information" else rank / 10),
                      subject=subject, quantity=quantity)
        for quantity in ("information", "share")
        for subject, level in LEVELS.items()
    ]  # fmt: skip
    return plots.spectra(by_dimension(tables))


def curves():
    return [
        with_interval({"train_size": SIZES}, level * SIZES**-0.5, learner=learner)
        for learner, level in (("net", 1.0), ("initial", 3.0), ("final", 1.3), ("stretched", 0.7))
    ]


@regression
def test_tangent_learning_curves():
    return plots.learning_curves(by_dimension(curves()))


@regression
def test_tangent_learning_curves_of_one_task():
    return plots.learning_curves(pd.concat(curves(), ignore_index=True))


@regression
def test_single_ratios():
    pairs = [("net", "lazy"), ("final", "initial")]
    tables = [
        pd.DataFrame({"numerator": one, "denominator": two, "train_size": size, "seed": range(4),
                      "ratio": np.array([0.6, 0.8, 0.9, 1.2]) * factor})
        for (one, two), factor in zip(pairs, (1.0, 0.9), strict=True)
        for size in (100, 400)
    ]  # fmt: skip
    return plots.single_ratios(pd.concat(tables, ignore_index=True))


@regression
def test_controls():
    ratio = np.array([3.0, 4.0, 1.2, 0.6, 9.0])
    learners = ["analytic", "initial", "final", "stretched_B", "wrong_axis"]
    frame = pd.DataFrame({"learner": learners, "ratio": ratio, "lower": 0.8 * ratio, "upper": 1.2 * ratio, "seeds": 10})
    return plots.controls(by_dimension([frame]))

"""Figure regression on small fixed frames. The tolerance is generous: fonts differ between machines.

`make baselines` draws new reference pictures; look at them.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from repro.plots import compression, forest

regression = pytest.mark.mpl_image_compare(
    baseline_dir="baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)

SIZES = np.array([64, 128, 256, 512])


def curves(level, dimensions=(5, 10)):
    """Two dimensions, two regimes, four sizes: power laws with an interval of ten per cent."""
    tables = []
    for d in dimensions:
        for regime, exponent in (("feature", 0.7), ("lazy", 0.4)):
            mean = level * SIZES**-exponent
            table = pd.DataFrame({"train_size": SIZES, "mean": mean, "lower": 0.9 * mean, "upper": 1.1 * mean})
            theory = np.where(SIZES > 100, mean, np.nan)
            tables.append(table.assign(dimension=d, regime=regime, seeds=16, theory=theory))
    return pd.concat(tables, ignore_index=True)


@regression
def test_learning_curves():
    return compression.learning_curves(curves(1.0))


@regression
def test_local_exponents():
    frame = curves(1.0)
    constant = frame["regime"].map({"feature": 0.7, "lazy": 0.4})
    return compression.local_exponents(
        frame.assign(mean=constant + 0.05, lower=constant, upper=constant + 0.1, theory=constant)
    )


@regression
def test_error_ratio():
    frame = curves(1.0)
    feature, lazy = (frame[frame["regime"] == regime].reset_index(drop=True) for regime in ("feature", "lazy"))
    ratio = lazy["mean"] / feature["mean"]
    return compression.error_ratio(feature.assign(mean=ratio, lower=0.9 * ratio, upper=1.2 * ratio))


@regression
def test_decision_slices():
    axis = np.linspace(-3, 3, 13)
    x1, x2 = (grid.ravel() for grid in np.meshgrid(axis, axis))
    planes = [("feature", np.abs(x1 - 0.4) - 0.7), ("lazy", np.hypot(x1 - 0.4, x2) - 1.2)]
    frame = pd.concat([pd.DataFrame({"regime": r, "x1": x1, "x2": x2, "decision": f}) for r, f in planes])
    return compression.decision_slices(frame, (-0.3, 1.18549))


@regression
def test_forest():
    inf = np.inf
    columns = ["claim", "part", "estimate", "lower", "upper", "region_lower", "region_upper", "verdict"]
    rows = [
        ("a.inside", "d = 5", 0.5, 0.45, 0.55, 0.4, 0.6, "reproduced"),
        ("a.outside", "", 0.9, 0.8, 1.0, 0.4, 0.6, "not reproduced"),
        ("a.across", "", 0.6, 0.5, 0.7, 0.4, 0.6, "inconclusive"),
        ("a.half_open", "", 0.3, 0.2, 0.4, 0.0, inf, "reproduced"),
    ]
    return forest.forest(pd.DataFrame(rows, columns=columns), label="estimate")


def test_drawing_leaves_the_callers_settings_and_figures_alone():
    before = dict(plt.rcParams)
    compression.learning_curves(curves(1.0))
    assert dict(plt.rcParams) == before and plt.get_fignums() == []

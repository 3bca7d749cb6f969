"""Figure regression on small fixed frames. The tolerance is generous: fonts differ between machines.

`make baselines` draws new reference pictures; look at them.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from repro.papers.compression import amplification_plots, cylinder_plots, exponents_plots

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
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
    return exponents_plots.learning_curves(curves(1.0))


@regression
def test_local_exponents():
    frame = curves(1.0)
    constant = frame["regime"].map({"feature": 0.7, "lazy": 0.4})
    return exponents_plots.local_exponents(
        frame.assign(mean=constant + 0.05, lower=constant, upper=constant + 0.1, theory=constant)
    )


@regression
def test_error_ratio():
    frame = curves(1.0)
    feature, lazy = (frame[frame["regime"] == regime].reset_index(drop=True) for regime in ("feature", "lazy"))
    ratio = lazy["mean"] / feature["mean"]
    return exponents_plots.error_ratio(feature.assign(mean=ratio, lower=0.9 * ratio, upper=1.2 * ratio))


@regression
def test_decision_slices():
    axis = np.linspace(-3, 3, 13)
    x1, x2 = (grid.ravel() for grid in np.meshgrid(axis, axis))
    planes = [("feature", np.abs(x1 - 0.4) - 0.7), ("lazy", np.hypot(x1 - 0.4, x2) - 1.2)]
    frame = pd.concat([pd.DataFrame({"regime": r, "x1": x1, "x2": x2, "decision": f}) for r, f in planes])
    return exponents_plots.decision_slices(frame, (-0.3, 1.18549))


def with_interval(frame, mean, spread=0.1):
    return frame.assign(mean=mean, lower=(1 - spread) * mean, upper=(1 + spread) * mean, seeds=8)


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


@regression
def test_growth():
    frame = combinations(definition=["A", "B", "C"], dimension=[5, 10], train_size=SIZES)
    level = frame["definition"].map({"A": 1.2, "B": 0.5, "C": 0.2}) * 5 / frame["dimension"]
    frame = with_interval(frame, level * frame["train_size"] ** 0.5)
    fit = {"slope": 0.5, "slope_lower": 0.45, "slope_upper": 0.55}
    return amplification_plots.growth(frame.assign(saturation=0.3676 * frame["train_size"] ** 0.5, **fit))


@regression
def test_crossover():
    quantities = {"Λ at t*": 30.0, "Λ at the end": 8.0, "test error": 0.02}
    frame = combinations(quantity=list(quantities), output_scale=[1e-9, 1e-6, 1e-3, 1.0, 1e6])
    level = frame["quantity"].map(quantities)
    lazy = frame["quantity"].map({"Λ at t*": 1.0, "Λ at the end": 1.0, "test error": 0.06})
    return amplification_plots.crossover(with_interval(frame, level.where(frame["output_scale"] < 1, lazy)))


@regression
def test_stages():
    quantities = ["amplification_A", "loss", "satisfied", "test_error"]
    frame = combinations(train_size=[512, 2048], quantity=quantities, progress=np.geomspace(0.05, 1000, 9))
    mean = frame["progress"] / (1 + frame["progress"])
    mean = mean.where(frame["quantity"] != "amplification_A", 1 + 30 * mean)
    return amplification_plots.stages(with_interval(frame, mean.where(frame["quantity"] != "loss", 1.01 - mean)))


def neurons():
    moments = {"start": 0, "t*": 1, "90 % satisfied": 2, "end": 3}
    frame = combinations(moment=list(moments), neuron=range(12))
    frame = frame.assign(frame=frame["moment"].map(moments), time=10.0, satisfied=0.5)
    angle = 2 * np.pi * frame["neuron"] / 12
    return frame.assign(z1=2 * np.cos(angle), z2=np.sin(angle) * (3 - frame["frame"]), share=(frame["neuron"] + 1) / 78)


@regression
def test_neuron_map():
    return amplification_plots.neuron_map(neurons(), (-0.3, 1.18549))


def test_neuron_film_has_a_picture_per_frame_and_is_the_same_file_twice():
    film = amplification_plots.neuron_film(neurons(), (-0.3, 1.18549))
    assert film[:6] == b"GIF89a" and film == amplification_plots.neuron_film(neurons(), (-0.3, 1.18549))
    with Image.open(io.BytesIO(film)) as pictures:
        assert pictures.n_frames == 4
    assert plt.get_fignums() == []


@regression
def test_one_neuron_growth():
    sources = ["net", "equation, p", "equation"]
    frame = combinations(train_size=[512, 8192], source=sources, progress=np.linspace(0, 1, 9))
    bare = np.exp(5 * frame["progress"])
    saturated = np.minimum(bare, frame["train_size"] ** 0.5)
    return amplification_plots.one_neuron_growth(
        with_interval(frame, bare.where(frame["source"] == "equation", saturated))
    )


@regression
def test_neuron_paths():
    frame = combinations(neuron=[3, 7], source=["net", "equation"], time=np.linspace(0, 1, 9))
    along = (frame["neuron"] - 5) * (0.3 + 0.2 * frame["time"]) + 0.05 * (frame["source"] == "net")
    return amplification_plots.neuron_paths(frame.assign(z_parallel=along, z_perpendicular=2 - 1.9 * frame["time"]))


@regression
def test_nuisances():
    frame = combinations(variant=["wider", "double precision"], quantity=["Λ at t*", "test error"])
    return amplification_plots.nuisances(with_interval(frame, pd.Series([1.0, 1.1, 1.02, 0.9])), "d = 5, p = 256")


@regression
def test_gain():
    frame = combinations(quantity=["error ratio", "amplification"], informative=[2, 3], dimension=[5], train_size=SIZES)
    return cylinder_plots.gain(with_interval(frame, 0.1 * frame["train_size"] ** 0.5 + 0.3))


DRAWINGS = [test_learning_curves, test_growth, test_crossover, test_stages, test_one_neuron_growth, test_nuisances,
            test_gain]  # fmt: skip


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.__name__.removeprefix("test_"))
def test_one_unit_has_no_interval_and_is_drawn_without(drawing, monkeypatch):
    seen = []

    def one_unit(frame):
        seen.append(frame)
        return frame.assign(lower=np.nan, upper=np.nan, seeds=1)

    for made in (with_interval, curves):
        monkeypatch.setitem(globals(), made.__name__, lambda *options, made=made: one_unit(made(*options)))
    drawing().draw_without_rendering()
    assert seen


def test_drawing_leaves_the_callers_settings_and_figures_alone():
    before = dict(plt.rcParams)
    exponents_plots.learning_curves(curves(1.0))
    assert dict(plt.rcParams) == before and plt.get_fignums() == []

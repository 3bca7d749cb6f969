"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from repro.data.synthetic import sinusoid_height
from repro.papers.magnification import boundary_plots as plots
from repro.papers.magnification.planar import square

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)
STATES, ABOUT = ["untrained", "trained"], ["boundary", "mirror images"]


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean):
    return frame.assign(mean=mean, lower=0.85 * mean, upper=1.2 * mean, nets=16)


def maps(panels, column="panel"):
    """A hill that turns into a ridge along the curve."""
    points = square(20, 1.5)
    above = points[:, 1] - sinusoid_height(points[:, 0])
    tables = []
    for number, panel in enumerate(panels):
        volume = -1.0 - (1 - number / 3) * (points**2).sum(1) / 2 - number * np.minimum(np.abs(above), 0.6)
        table = {column: panel, "x1": points[:, 0], "x2": points[:, 1], "log10_volume": volume, "margin": above}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def along(widths):
    frame = combinations(width=widths, step=[0, 1, 10, 100, 1000], about=ABOUT)
    rise = frame["about"].eq("boundary") * np.log10(1 + frame["step"]) / (1 + np.log10(frame["width"]))
    return with_interval(frame, 1.2 + rise)


@regression
def test_volume_maps():
    return plots.volume_maps(maps(["step 0", "step 40", "step 4000"]), task="sinusoid")


@regression
def test_volume_maps_xor():
    return plots.volume_maps(maps([f"width {n}" for n in (2, 10, 100, 250)]), task="xor", spread=True)


@regression
def test_along_training():
    return plots.along_training(along([5, 20, 250]))


@regression
def test_near_and_far():
    tasks = [("sinusoid", 20), ("sinusoid", 250), ("xor", 10), ("xor", 100)]
    frame = pd.concat([combinations(state=STATES, about=ABOUT).assign(task=t, width=w) for t, w in tasks])
    trained = frame["state"].eq("trained") & frame["about"].eq("boundary")
    return plots.near_and_far(with_interval(frame, 1.2 + 5 * trained / np.log(frame["width"])))


@regression
def test_against_width():
    spread = combinations(quantity=["angular spread"], width=[2, 10, 100, 500], state=STATES)
    equal = combinations(quantity=["equal loss"], width=[10, 50, 500], state=["trained"])
    crests = combinations(quantity=["crests over flanks"], width=[5, 20, 250], state=STATES)
    frame = pd.concat([spread, equal, crests], ignore_index=True)
    return plots.against_width(
        with_interval(frame, (1 + 2 * frame["state"].eq("trained")) / np.log(1 + frame["width"]))
    )


@regression
def test_layers_of_deep_nets():
    frame = combinations(state=STATES, net=range(4), layer=[1, 2, 3])
    trained = frame["state"].eq("trained")
    return plots.layers(frame.assign(contrast=0.5 + trained * frame["layer"] * (1 + 0.1 * frame["net"])))


@regression
def test_levels_of_magnification():
    frame = combinations(loss=["cross-entropy", "squared error"], level=["hidden", "logit", "probability"], about=ABOUT)
    rise = frame["level"].map({"hidden": 2.0, "logit": 3.0, "probability": 1000.0})
    return plots.levels(with_interval(frame, np.where(frame["about"] == "boundary", rise, 1.1)))


@regression
def test_controls_in_the_plane():
    frame = combinations(control=["as above", "lazy", "random labels, own boundary"], about=ABOUT)
    return plots.controls(with_interval(frame, np.where(frame["about"] == "boundary", 2.5, 1.1)))


def test_the_film_has_a_frame_per_step_and_rests_at_both_ends():
    steps = [0, 10, 1000]
    curve = along([20]).drop(columns="width")
    film = Image.open(io.BytesIO(plots.training_film(maps(steps, "step"), curve)))
    assert film.n_frames >= len(steps)
    sizes = set()
    for frame in range(film.n_frames):
        film.seek(frame)
        sizes.add(film.size)
    (size,) = sizes
    assert min(size) > 200

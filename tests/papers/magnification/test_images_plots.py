"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.magnification import images_plots as plots
from repro.papers.magnification import selfsupervised_plots
from repro.papers.magnification.planes import plane_coordinates

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)
KINDS, STATES = ["digits, dense", "Fashion, residual"], ["untrained", "trained"]


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def with_interval(frame, mean):
    return frame.assign(mean=mean, lower=0.85 * mean, upper=1.2 * mean, nets=8)


def pixels(shift):
    column, row = np.meshgrid(np.arange(8), np.arange(8))
    return pd.DataFrame({"x": column.ravel(), "y": row.ravel(), "value": ((row + shift) % 8 > 4).ravel() * 0.8})


@regression
def test_segments_between_images():
    t = np.linspace(0, 1, 17)
    tables = []
    for kind in KINDS:
        for segment in (0, 1):
            for state in STATES:
                y = -30 * (t - (0.6 if state == "trained" else 0.1)) ** 2
                columns = {"kind": kind, "segment": segment, "part": "curve", "state": state, "value": np.nan}
                tables.append(pd.DataFrame({"x": t, "y": y, "class": 3 + 4 * (t > 0.6), **columns}))
            for number, part in enumerate(("left", "middle", "right")):
                columns = {"kind": kind, "segment": segment, "part": part, "state": "", "class": np.nan}
                tables.append(pixels(2 * number).assign(**columns))
    return plots.example_segments(pd.concat(tables, ignore_index=True))


@regression
def test_peaks_and_crossings():
    frame = combinations(kind=KINDS, state=STATES, net=range(2), crossing=np.linspace(0.1, 0.9, 12))
    wobble = 0.1 * np.sin(40 * frame["crossing"])
    return plots.peaks_and_crossings(
        frame.assign(peak=np.where(frame["state"] == "trained", frame["crossing"] + wobble, 0))
    )


@regression
def test_distances_from_the_crossing():
    frame = combinations(kind=KINDS, segments=["all", "off centre"], place=list(plots.PLACES))
    return plots.distances(with_interval(frame, 0.1 + 0.08 * frame["place"].map(list(plots.PLACES).index)))


@regression
def test_ranges_within_and_between_classes():
    frame = combinations(kind=KINDS, segments=["same", "between"], state=STATES, net=range(5))
    height = 1.0 + (frame["segments"] == "between") * (1 + (frame["state"] == "trained"))
    return plots.within_and_between(frame.assign(range=height * (4 + 0.2 * frame["net"]), interior=height / 3.3))


@regression
def test_planes_through_images():
    points = plane_coordinates(15)
    angle = np.arctan2(points[:, 1], points[:, 0])
    classes = np.digitize(angle, [-1.5, 1.0])
    parts = {"class": classes, "entropy": np.exp(-3 * np.abs(np.sin(1.5 * angle))), "log volume": -(points**2).sum(1),
             "log volume, untrained": points[:, 0]}  # fmt: skip
    tables = [
        pd.DataFrame({"kind": kind, "part": part, "x": points[:, 0], "y": points[:, 1], "value": value})
        for kind in KINDS for part, value in parts.items()
    ]  # fmt: skip
    tables += [pixels(2 * n).assign(kind=kind, part=f"image {n}") for kind in KINDS for n in (1, 2, 3)]
    return plots.planes(pd.concat(tables, ignore_index=True))


@regression
def test_junctions_of_three_classes():
    frame = combinations(kind=KINDS[:1], state=STATES, net=range(6))
    return plots.junctions(frame.assign(junction=1.0 + frame["net"] / 6 + 3 * (frame["state"] == "trained")))


@regression
def test_misread_images():
    frame = combinations(kind=["dense", "residual"], state=STATES, net=range(2), crossing=np.linspace(0.1, 0.9, 10))
    return plots.misread(frame.assign(peak=0.5 + 0.7 * (frame["crossing"] - 0.5) * (frame["state"] == "trained")))


@regression
def test_concave_lines():
    frame = combinations(state=STATES, line=range(4), t=np.linspace(0, 1, 17))
    return plots.concave(frame.assign(log10_volume=-20 * (frame["t"] - 0.2 * frame["line"]) ** 2))


@regression
def test_spectra_of_jacobians():
    frame = combinations(kind=KINDS, state=STATES, number=range(1, 65))
    return plots.spectra(frame.assign(log10_value=-0.03 * frame["number"] + 0.5 * (frame["state"] == "trained")))


METHODS, RANKS = ["barlow", "simclr", "supervised"], ["k = 10", "full rank"]


@regression
def test_losses_without_labels():
    frame = combinations(method=METHODS[:2], net=range(3), epoch=range(1, 9))
    return selfsupervised_plots.training_losses(frame.assign(loss=(1 + 0.02 * frame["net"]) / frame["epoch"] ** 0.4))


@regression
def test_segments_read_by_a_probe():
    frame = combinations(method=METHODS, state=STATES, rank=RANKS, segment=range(2), t=np.linspace(0, 1, 17))
    height = -5 * (frame["t"] - np.where(frame["state"] == "trained", 0.5, 0.0)) ** 2
    return selfsupervised_plots.example_segments(
        frame.assign(log10_volume=height, **{"class": 2 + 5 * (frame["t"] > 0.5)})
    )


@regression
def test_about_the_crossing():
    frame = combinations(method=METHODS, state=STATES, rank=RANKS, offset=np.linspace(-0.5, 0.5, 11))
    mean = np.where(frame["state"] == "trained", -6 * frame["offset"] ** 2, frame["offset"])
    return selfsupervised_plots.about_the_crossing(frame.assign(mean=mean, lower=mean - 0.2, upper=mean + 0.2, nets=4))


@regression
def test_statistics_without_labels():
    judged = combinations(statistic=["over untrained", "over a constant"], method=METHODS, rank=RANKS, state=STATES[1:])
    both = combinations(statistic=["rank correlation", "contrast"], method=METHODS, rank=RANKS, state=STATES)
    frame = with_interval(pd.concat([judged, both], ignore_index=True), 0.7)
    return selfsupervised_plots.statistics(frame)

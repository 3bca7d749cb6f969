"""Segments and planes: hand-made classes and curves, whose crossings, peaks and junctions are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from repro.papers.magnification import planes, segments
from repro.papers.magnification import segments_analysis as analysis

CLASSES = np.array([[0, 0, 0, 1, 1], [2, 2, 2, 2, 2], [0, 1, 1, 1, 2]])


def test_images_on_a_segment_begin_and_end_at_its_ends():
    starts, ends = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    images = segments.interpolate(starts, ends, 5)
    assert images.shape == (10, 1, 2, 2) and images[:, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1] * 2


def test_crossings_are_half_way_between_points_and_averaged():
    assert segments.crossing(CLASSES)[[0, 2]].tolist() == [0.625, 0.5]
    assert np.isnan(segments.crossing(CLASSES)[1])


def test_peaks_are_the_first_of_equals():
    assert segments.peak(np.array([[0, 1, 3, 3, 0], [5, 1, 1, 1, 1]])).tolist() == [0.5, 0.0]


def test_contrast_is_near_less_far():
    classes = np.array([[0] * 10 + [1] * 11, [0] * 21])
    logs = np.zeros((2, 21))
    t = np.arange(21) / 20
    logs[:, np.abs(t - 0.475) < 0.1] = 2.0
    found = segments.contrast(logs, classes)
    assert found[0] == pytest.approx(2.0) and np.isnan(found[1])


def test_a_cut_spectrum_is_a_sum_and_zeros_are_rounding():
    values = torch.tensor([[100.0, 10.0, 0.0]], dtype=torch.float64)
    found = segments.by_rank(values, [0, 2])
    assert found[2].tolist() == [3.0]
    assert found[0][0] == pytest.approx(3 + np.log10(100 * np.finfo(float).eps))


def test_pairs_are_read_right_and_of_one_class_or_two():
    labels = np.repeat(np.arange(4), 10)
    predicted = np.where(np.arange(40) % 3 == 0, (labels + 1) % 4, labels)
    for same in (True, False):
        first, second = segments.draw_pairs(labels, predicted, 25, same, np.random.default_rng(0))
        for end in (first, second):
            assert (labels[end] == predicted[end]).all()
        assert ((labels[first] == labels[second]) == same).all() and (first != second).all()
    with pytest.raises(ValueError, match="two classes"):
        segments.draw_pairs(labels[:10], predicted[:10], 3, False, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one class, got 4 of 4 in 4"):  # a draw that once went on for ever
        segments.draw_pairs(labels[::10], labels[::10], 1, True, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one class, got 0 of 10"):
        segments.draw_pairs(labels[:10], labels[:10] + 1, 1, True, np.random.default_rng(0))


def test_misread_pairs_begin_at_an_error_and_end_in_a_third_class():
    labels = np.repeat(np.arange(4), 10)
    predicted = np.where(np.arange(40) % 5 == 0, (labels + 1) % 4, labels)
    first, second = segments.draw_misread(labels, predicted, 6, np.random.default_rng(0))
    assert len(first) == 6 and len(set(first)) == 6
    assert (labels[first] != predicted[first]).all() and (labels[second] == predicted[second]).all()
    assert (labels[second] != labels[first]).all() and (labels[second] != predicted[first]).all()
    assert len(segments.draw_misread(labels, predicted, 99, np.random.default_rng(0))[0]) == 8
    assert len(segments.draw_misread(labels, labels, 5, np.random.default_rng(0))[0]) == 0


def made_up(nets=3, count=8, bias=0.0, noise=0.0):
    """Trained peaks at the crossing plus `bias` and noise, untrained ones at the end of every segment."""
    generator = np.random.default_rng(4)
    table = []
    for net in range(nets):
        crossings = generator.uniform(0.1, 0.9, count)
        for state in ("trained", "untrained"):
            for segment, crossing in enumerate(crossings):
                peak = crossing + bias + noise * generator.normal() if state == "trained" else 1.0
                table.append({"net": net, "kind": "between", "state": state, "rank": 0, "segment": segment,
                              "crossing": crossing, "peak": peak, "contrast": 1.0 if state == "trained" else -1.0,
                              "range": 10.0})  # fmt: skip
        table += [
            {"net": net, "kind": "same", "state": state, "rank": 0, "segment": segment, "crossing": np.nan,
             "peak": 0.5, "contrast": np.nan, "range": 4.0 + net if state == "trained" else 2.0}
            for segment in range(3) for state in ("trained", "untrained")
        ]  # fmt: skip
    return pd.DataFrame(table)


def test_distances_are_ratios_of_means():
    rows = made_up(bias=0.05)
    estimate, values, _ = analysis.over_untrained(rows, 0)
    assert values["trained"] == pytest.approx(0.05) and estimate.n == 3
    table = analysis.crossed(rows, "untrained", 0)
    by_hand = [0.05 / (1 - part["crossing"]).mean() for _, part in table.groupby("net")]
    assert estimate.value == pytest.approx(np.exp(np.mean(np.log(by_hand))))
    estimate, values, _ = analysis.over_constant(rows, 0)
    assert values["constant"] <= values["middle"] + 0.05 and values["offset"] == pytest.approx(0, abs=1e-12)
    assert values["hits"] == 1 and values["shuffled"] > values["constant"]


def test_rank_correlation_knows_peaks_that_follow_and_peaks_that_do_not():
    estimate, values, _ = analysis.correlation(made_up(), 0)
    assert estimate.value > 0.99 and values["untrained"] == 0
    assert values["contrast_positive"] == 1 and values["contrast_increased"] == 1
    assert values["untrained_interior"] == 0 and values["same_class_interior"] == 1


def test_ranges_within_and_between_classes():
    estimate, values, _ = analysis.same_class_range(made_up(), 0)
    assert values["untrained"] == pytest.approx(0.2)
    assert estimate.value == pytest.approx(np.exp(np.mean(np.log([0.4, 0.5, 0.6]))))


def test_distances_have_every_control_off_centre_too():
    table = analysis.distances(made_up(noise=0.02), 0, kind="made up")
    assert set(table["segments"]) == {"all", "off centre"} and len(table) == 12
    means = table[table["segments"] == "all"].set_index("place")["mean"]
    assert means["trained, less offset"] < means["best constant"]
    assert means["peak, trained"] < means["best constant"] < means["peak, untrained"]


def test_triples_are_read_right_and_of_three_classes():
    labels = np.repeat(np.arange(4), 10)
    predicted = np.where(labels == 3, 0, labels)
    for seed in range(5):
        anchors = planes.draw_triple(labels, predicted, np.random.default_rng(seed))
        assert sorted(labels[anchors]) == [0, 1, 2]
    with pytest.raises(ValueError, match="three classes, got 20 in 2"):  # a draw that once went on for ever
        planes.draw_triple(labels[:20], labels[:20], np.random.default_rng(0))


def test_planes_pass_through_their_images():
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 4, 4)))
    torch.testing.assert_close(planes.plane_points(images, np.array(planes.ANCHORS)), images)
    grid = planes.plane_coordinates(3)
    assert grid.tolist() == [[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    torch.testing.assert_close(planes.plane_points(images, np.zeros((1, 2)))[0], images.mean(0))


def test_junctions_are_where_three_classes_meet():
    side = 9
    rows, columns = np.indices((side, side))
    classes = np.where(rows < 4, 0, np.where(columns < 4, 1, 2))
    count = planes.neighbouring_classes(classes)
    assert count.max() == 3 and (count == 3).sum() == 4 and count[0, 0] == 1
    logs = np.where(count == 3, 2.0, np.where(count == 2, 1.0, 0.0))
    assert planes.junction(logs, classes) == pytest.approx(np.log(10))
    assert np.isnan(planes.junction(logs, np.zeros((side, side), int)))

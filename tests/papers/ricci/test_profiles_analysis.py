"""Best scales, groups of profiles and trends by layer, on cells made to have them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import is_valid_linkage

from repro.papers.ricci import profiles_analysis as profiles
from repro.papers.ricci.coefficients import Nets, Pooled, pooled
from repro.papers.ricci.study import KEY, TRAINED, UNTRAINED
from repro.stats.estimate import Estimate

NEIGHBOURS = np.array([10, 50, 100, 200])


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(profiles, "resampled", partial(profiles.resampled, resamples=200))


def cell(target, dataset="A", depth=5, architecture="narrow", nets=6, seed=0):
    """Nets whose pooled coefficient is near `target` (K,) at each k."""
    rng = np.random.default_rng([seed, depth, *dataset.encode(), *architecture.encode()])
    hop_sums = 1e6 + 1e4 * rng.normal(size=(nets, len(target), depth))
    eta = np.append(np.diff(hop_sums), np.zeros((nets, len(target), 1)), axis=-1)
    along = np.asarray(target)[:, None]
    curvature = along * eta + np.sqrt(1 - along**2) * 1.4e4 * rng.normal(size=hop_sums.shape)
    scores = np.full(nets, 0.995), np.full(nets, 0.01)
    return Nets(
        dataset, architecture, depth, 1000, NEIGHBOURS[: len(target)], np.arange(nets), *scores, hop_sums, curvature
    )


def best_at(position, **options):
    return cell(np.where(np.arange(4) == position, -0.99, 0.0), nets=20, **options)


def disconnected(nets, chosen):
    hop_sums = nets.hop_sums.copy()
    hop_sums[chosen] = np.inf
    return nets._replace(hop_sums=hop_sums)


def test_kinds_of_data():
    assert [profiles.kind(name) for name in ("A", "B", "C")] == ["synthetic"] * 3
    assert {profiles.kind(name) for name in profiles.PUBLISHED_BEST if name not in "ABC"} == {"images"}


def rows_of(*cells):
    """The rows that `ensemble_cell` gives for these nets."""
    return pd.DataFrame([
        dict(zip(KEY, nets[:3], strict=True))
        | {"condition": TRAINED, "net": net, "points": nets.points, "k": k, "test_accuracy": 0.995, "test_loss": 0.01}
        | {"hop_sums": nets.hop_sums[net, i].tolist(), "directed_curvature": nets.curvature[net, i].tolist()}
        for nets in cells for net in range(len(nets.net)) for i, k in enumerate(nets.neighbours)
    ])  # fmt: skip


def test_cells_of_a_kind_have_a_coefficient_at_some_k():
    target = [-0.5, 0.5, 0.0, 0.2]
    table = rows_of(cell(target), disconnected(cell(target, depth=11), slice(None)), cell(target, "mnist-1v7"))
    found = dict(profiles.cells_of_kind(table, "directed", 1.0))
    assert {name: [nets[:3] for nets in cells] for name, cells in found.items()} == {
        "synthetic": [("A", "narrow", 5)], "images": [("mnist-1v7", "narrow", 5)],
    }  # fmt: skip
    assert found["synthetic"][0].hop_sums.tolist() == cell(target).hop_sums.tolist()
    assert [name for name, _ in profiles.cells_of_kind(table[table["dataset"] == "A"], "directed", 1.0)] == [
        "synthetic"
    ]


# --- resampled nets ---


def test_resamples_are_deterministic_and_draw_nets():
    nets = cell([-0.5, 0.5, 0.0], nets=4)
    first, again = (profiles.resampled(nets, np.random.default_rng(7), resamples=50) for _ in range(2))
    assert first.coefficient.tobytes() == again.coefficient.tobytes() and first.coefficient.shape == (50, 3)
    draws = np.random.default_rng(7).multinomial(4, [0.25] * 4, size=50)
    assert first.coefficient == pytest.approx(pooled(nets, draws).coefficient)
    alone = cell([-0.5, 0.5, 0.0], nets=1)
    always = profiles.resampled(alone, np.random.default_rng(0), resamples=5).coefficient
    assert always == pytest.approx(np.tile(alone.coefficients, (5, 1)))


def test_quantiles_need_nine_defined_resamples_in_ten():
    replicates = np.column_stack([np.r_[np.full(5, np.nan), np.zeros(45)], np.r_[np.full(6, np.nan), np.ones(44)]])
    lower, upper = profiles.quantiles(replicates, 0.05, 0.95)
    assert lower[0] == upper[0] == 0 and np.isnan([lower[1], upper[1]]).all()


# --- best scales ---


def test_median_scale_is_over_cells_and_shares_of_the_points():
    cells = [best_at(0, dataset="A"), best_at(2, dataset="B"), best_at(3, dataset="C")]
    found = profiles.median_scale(cells, seed=0)
    assert found == Estimate(0.1, 0.1, 0.1, 60, "percentile bootstrap")  # the same k in every resample
    twice = cells[2]._replace(points=2000)
    assert profiles.median_scale([cells[0], twice], seed=0).value == pytest.approx((0.01 + 0.1) / 2)


def test_median_scale_chooses_k_anew_in_each_resample_and_leaves_out_cells_without_one():
    unsure = cell([-0.3, -0.3, -0.3, -0.3])
    found = profiles.median_scale([unsure, disconnected(best_at(0), slice(None))], seed=0)
    assert found.value == NEIGHBOURS[pooled(unsure).best] / 1000 and found.n == 6
    assert found.lower < found.upper and found == profiles.median_scale([unsure], seed=0)


def scales(**columns):
    return pd.DataFrame({"points": 1000, "coefficient": -0.5, **columns})


def test_best_scales_stand_beside_the_published_ones():
    sets = {"dataset": ["A", "A", "B", "B", "mnist-1v7", "mnist-1v7"], "points": [1000] * 4 + [2163] * 2}
    table = scales(
        **sets, architecture=["bottleneck"] * 2 + ["wide"] * 4, depth=[11, 11, 5, 5, 11, 11],
        k=[6, 100, 6, 50, 100, 500], best=[False, True, True, False, True, False],
    )  # fmt: skip
    found = profiles.best_scales(table)
    assert found["k"].tolist() == [100, 6, 100] and found["published_k"].tolist() == [100, 6, 350]
    assert found["share"].tolist() == pytest.approx([0.1, 0.006, 100 / 2163])
    assert found["published_share"].tolist() == pytest.approx([0.1, 0.006, 350 / 2163])
    assert found["at_edge"].tolist() == [True, False, False]


def test_published_scales_have_the_ranges_of_the_papers_text():
    table = pd.DataFrame([
        (dataset, architecture, depth, 10, True)
        for dataset in profiles.PUBLISHED_BEST for depth in (5, 11) for architecture in ("narrow", "wide", "bottleneck")
    ], columns=[*KEY, "k", "best"])  # fmt: skip
    share = profiles.best_scales(scales(**table)).groupby("dataset")["published_share"]
    percent = pd.DataFrame({"low": share.min(), "high": share.max()}).mul(100).round(1)
    assert percent.to_dict("index") == {
        "A": {"low": 3.0, "high": 10.0}, "B": {"low": 0.6, "high": 1.0}, "C": {"low": 0.6, "high": 5.0},
        "mnist-1v7": {"low": 16.2, "high": 23.1}, "mnist-6v8": {"low": 18.1, "high": 25.9},
        "sandal-boot": {"low": 12.5, "high": 25.0}, "shirt-coat": {"low": 25.0, "high": 25.0},
    }  # fmt: skip


def test_a_depth_that_the_paper_lacks_has_no_published_scale():
    found = profiles.best_scales(scales(dataset=["A"], architecture="wide", depth=7, k=6, best=True))
    assert found[["published_k", "published_share"]].isna().all(axis=None) and found["at_edge"].all()


# --- groups ---

FALLING, RISING = [0.9, 0.5, -0.5, -0.9], [-0.9, -0.5, 0.5, 0.9]


def grouped_by(factor):
    return [
        cell(RISING if {"depth": depth == 11, "dataset": dataset == "B"}[factor] else FALLING, dataset, depth, width)
        for dataset in "AB" for depth in (5, 11) for width in ("narrow", "wide")
    ]  # fmt: skip


@pytest.mark.parametrize(("factor", "other"), [("depth", "dataset"), ("dataset", "depth")])
def test_two_clean_groups_agree_with_what_made_them_and_not_with_the_other(factor, other):
    cells = grouped_by(factor)
    found = profiles.grouping(cells, 0, expected=factor)
    assert getattr(found, factor) == 1 and getattr(found, other) < 0
    difference = 1 - getattr(found, other)
    always = Estimate(difference, difference, difference, 48, "percentile bootstrap")
    assert found.difference == always  # in every resample
    wrong = profiles.grouping(cells, 0, expected=other).difference
    assert wrong.value == -difference and wrong.interval == (-difference, -difference)


def test_profiles_with_gaps_take_their_mean_there():
    coefficient = np.array([[0.2, np.nan, 0.4], [np.nan] * 3])
    found = profiles._profiles([Pooled(coefficient, np.ones((2, 3)))])
    assert found[0, 0] == pytest.approx([0.2, 0.3, 0.4]) and np.isnan(found[0, 1]).all()


def test_a_resample_without_any_connected_net_is_left_out():
    cells = grouped_by("depth")
    sparse = disconnected(cells[0], [0, 1, 2])  # of six: one resample in 64 has no connected net
    found = profiles.grouping([sparse, *cells[1:]], 0, expected="depth")
    assert np.isfinite(found.difference.interval).all()
    sparser = disconnected(cells[0], [0, 1, 2, 3, 4])  # one in three
    assert np.isnan(profiles.grouping([sparser, *cells[1:]], 0, expected="depth").difference.interval).all()


def test_groups_of_one_depth_or_data_set_are_refused():
    with pytest.raises(ValueError, match=r"expected two data sets and depths, got \['A', 'B'\] and \[5\]"):
        profiles.grouping([cell(FALLING, "A"), cell(RISING, "B")], 0, "depth")
    with pytest.raises(ValueError, match="got 'width'"):
        profiles.grouping(grouped_by("depth"), 0, "width")


def test_trees_join_the_cells_of_each_kind():
    cells = grouped_by("depth")
    found = profiles.trees({"synthetic": cells, "images": cells[:3]})
    assert found["kind"].tolist() == ["synthetic"] * 8 + ["images"] * 3
    assert found["name"][:2].tolist() == ["A narrow 5", "A wide 5"] and found["name"].notna().all()
    tree = found[found["kind"] == "synthetic"][["left", "right", "distance", "cells"]]
    assert tree.iloc[-1].isna().all() and is_valid_linkage(tree[:-1].to_numpy(float))
    assert tree["cells"][6] == 8 and tree["distance"][6] > 3 * tree["distance"][5]


# --- along the layers ---


def test_layer_trend_is_the_mean_over_trained_nets_of_a_kind():
    table = pd.DataFrame({
        "dataset": ["A", "C", "A", "A", "sandal-boot"], "condition": [TRAINED] * 3 + [UNTRAINED, TRAINED],
        "curvature_trend": [-0.9, -0.3, np.nan, 1.0, 0.8],
    })  # fmt: skip
    found = profiles.layer_trend(table, "synthetic", "curvature_trend")
    assert found.value == pytest.approx(-0.6) and found.n == 2
    assert profiles.layer_trend(table, "images", "curvature_trend").value == 0.8


def test_layer_curves_are_means_of_connected_nets_at_the_best_k():
    nets = disconnected(best_at(1), [3])
    found = profiles.layers(rows_of(nets), "directed", 1.0)
    assert set(found["k"]) == {50} and set(found["seeds"]) == {19}
    assert found["layer"].tolist() == [1, 2, 3, 4, 5] * 2
    kept = np.arange(20) != 3
    hops, curvature = (part["mean"].to_numpy() for _, part in found.groupby("quantity", sort=False))
    assert hops == pytest.approx(nets.hop_sums[kept, 1].mean(0) / (1000 * 999))
    assert curvature == pytest.approx((nets.curvature[kept, 1].mean(0) / 1000 - 4 * 50 + 4 * 50**2) / 50**2)
    assert ((found["lower"] < found["mean"]) & (found["mean"] < found["upper"])).all()

"""From rows of hop sums and curvatures to coefficients and claims, against definitions written out and slow loops."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from scipy.stats import t as t_distribution
from sklearn.metrics import roc_auc_score

from repro.geometry.graph import ricci_correlation, standardise
from repro.papers.ricci import coefficients as ricci
from repro.papers.ricci import correlation_analysis as ricci_claims
from repro.papers.ricci.study import FEW, KEY, SHUFFLED, TRAINED, UNTRAINED
from repro.stats import estimate as stats
from repro.stats import regression

NEIGHBOURS = (6, 50, 200)


def rows(nets=8, seed=0, *, dataset="A", architecture="narrow", depth=5, condition=TRAINED, points=1000, accuracy=1.0):
    """Rows of `ensemble_cell` with made-up numbers; curvature rises or falls with eta."""
    rng = np.random.default_rng(seed)
    found = []
    for net in range(nets):
        for k in NEIGHBOURS:
            hop_sums, noise = rng.integers(1_000_000, 2_000_000, depth), rng.integers(-300_000, 300_000, (2, depth))
            eta = np.append(np.diff(hop_sums), 0) * rng.choice([-1, 1])
            found.append(
                {"dataset": dataset, "architecture": architecture, "depth": depth, "condition": condition, "net": net}
                | {"points": points, "k": k, "train_accuracy": 1.0, "test_accuracy": accuracy, "test_loss": 0.1}
                | {"hop_sums": hop_sums.astype(float).tolist(), "directed_curvature": (eta + noise[0]).tolist()}
                | {"union_curvature": (eta + noise[1]).tolist()}
            )
    return pd.DataFrame(found)


def disconnect(table, net, k, layer=1):
    """The same rows, one layer of one net disconnected at one k."""
    found = table.to_dict("records")
    for row in found:
        if (row["net"], row["k"]) == (net, k):
            row["hop_sums"] = [np.inf if at == layer else g for at, g in enumerate(row["hop_sums"])]
    return pd.DataFrame(found)


def only(table, condition=TRAINED, convention="directed", **options):
    [nets] = ricci.judged_nets(table, condition, convention, **options)
    return nets


def correlation_of_all_pairs(table, k, column="directed_curvature"):
    """Pooled coefficient as it is defined: one Pearson over the (net, layer) pairs of the connected nets."""
    kept = [row for _, row in table[table["k"] == k].iterrows() if np.isfinite(row["hop_sums"]).all()]
    eta = np.concatenate([np.diff(row["hop_sums"]) for row in kept])
    return np.corrcoef(eta, np.concatenate([row[column][:-1] for row in kept]))[0, 1]


# --- nets that count ---


def test_judged_nets_hold_the_rows_in_order_of_net_and_k():
    table = rows(3)
    nets = only(table.sample(frac=1, random_state=0), convention="union")
    assert nets[:4] == ("A", "narrow", 5, 1000) and nets.net.tolist() == [0, 1, 2]
    assert nets.neighbours.tolist() == list(NEIGHBOURS)
    assert nets.hop_sums.shape == nets.curvature.shape == (3, 3, 5)
    row = table[(table["net"] == 1) & (table["k"] == 50)].iloc[0]
    assert nets.hop_sums[1, 1].tolist() == row["hop_sums"] and nets.curvature[1, 1].tolist() == row["union_curvature"]
    assert nets.coefficients[1, 1] == ricci_correlation(row["hop_sums"], row["union_curvature"])


@pytest.mark.parametrize(
    ("dataset", "bar"),
    [
        ("A", 0.99), ("B", 0.99), ("C", 0.91), ("mnist-1v7", 0.99), ("mnist-6v8", 0.99), ("sandal-boot", 0.98),
        ("shirt-coat", 0.90),
    ],
)  # fmt: skip
def test_trained_nets_count_above_the_papers_accuracy(dataset, bar):
    table = rows(3, dataset=dataset)
    table["test_accuracy"] = table["net"].map({0: bar, 1: bar + 0.001, 2: bar - 0.001})
    assert only(table).net.tolist() == [1]
    with pytest.raises(ValueError, match="no net exceeds the accuracy"):
        ricci.judged_nets(table[table["net"] != 1], TRAINED, "directed")


@pytest.mark.parametrize("condition", [SHUFFLED, FEW])
def test_nets_of_few_points_count_if_they_are_fitted_and_untrained_ones_always(condition):
    table = rows(3, condition=condition, accuracy=0.5)
    table["train_accuracy"] = table["net"].map({0: 0.9, 1: 0.89, 2: 1.0})
    assert only(table, condition).net.tolist() == [0, 2]
    assert only(table.assign(condition=UNTRAINED), UNTRAINED).net.tolist() == [0, 1, 2]
    assert ricci.judged_nets(table, UNTRAINED, "directed") == []


def test_k_beyond_the_largest_share_of_the_points_is_left_out():
    assert only(rows(), largest_share=0.05).neighbours.tolist() == [6, 50]


# --- pooled coefficients ---


@pytest.mark.parametrize("convention", ["directed", "union"])
@pytest.mark.parametrize("depth", [5, 11])
def test_pooled_coefficient_is_one_correlation_of_all_pairs_of_connected_nets(convention, depth):
    table = disconnect(disconnect(rows(8, depth=depth), 3, 50), 5, 50, layer=depth - 1)
    found = ricci.pooled(only(table, convention=convention))
    expected = [correlation_of_all_pairs(table, k, f"{convention}_curvature") for k in NEIGHBOURS]
    assert found.coefficient == pytest.approx(expected, rel=1e-10)
    assert found.connected.tolist() == [1, 0.75, 1]


def test_weights_count_a_net_as_often_as_they_say():
    nets = only(disconnect(rows(4), 2, 6))
    weights = np.array([[3, 0, 2, 1], [1, 1, 1, 1]])
    found = ricci.pooled(nets, weights)
    repeated = ricci.pooled(nets._replace(
        net=np.arange(6), hop_sums=nets.hop_sums.repeat(weights[0], 0), curvature=nets.curvature.repeat(weights[0], 0)
    ))  # fmt: skip
    assert found.coefficient == pytest.approx(np.array([repeated.coefficient, ricci.pooled(nets).coefficient]))
    assert found.connected == pytest.approx(np.array([[4 / 6, 1, 1], [0.75, 1, 1]]))


def test_pooled_coefficient_keeps_its_digits_beside_large_totals():
    nets = only(rows())
    shifted = nets._replace(curvature=nets.curvature - 1e12)
    assert ricci.pooled(shifted).coefficient == pytest.approx(ricci.pooled(nets).coefficient, rel=1e-9)


def test_constant_curvature_and_disconnected_nets_have_no_pooled_coefficient():
    nets = only(rows(3))
    curvature = nets.curvature.copy()
    curvature[:, 0] = -123457.0
    hop_sums = nets.hop_sums.copy()
    hop_sums[:, 2, 1] = np.inf
    found = ricci.pooled(nets._replace(curvature=curvature, hop_sums=hop_sums))
    assert np.isnan(found.coefficient).tolist() == [True, False, True] and found.best == 1
    assert ricci.pooled(nets._replace(hop_sums=np.full_like(hop_sums, np.inf))).best == -1


def test_best_k_is_the_most_negative_eligible_one():
    coefficient = np.array([[-0.9, -0.2, 0.1], [-0.9, np.nan, 0.1], [np.nan] * 3])
    connected = np.array([[0.49, 0.5, 1.0]] * 3)
    assert ricci.Pooled(coefficient, connected).best.tolist() == [1, 2, -1]


# --- k chosen on the other half ---


def opposite_at(table, parity, k):
    """The same rows with curvature opposite to eta in the nets of one parity at one k: their best k."""
    found = table.to_dict("records")
    for row in found:
        if (row["net"] % 2, row["k"]) == (parity, k):
            row["directed_curvature"] = [-int(eta) for eta in [*np.diff(row["hop_sums"]), 0]]
    return pd.DataFrame(found)


@pytest.mark.parametrize("parity", [0, 1])
def test_k_of_a_half_is_the_best_of_the_other(parity):
    table = rows()
    before, after = (ricci.held_out_k(only(opposite_at(table, parity, k))) for k in (6, 200))
    assert (before[1 - parity], after[1 - parity]) == (0, 2)
    assert before[parity] == after[parity]  # chosen on nets that did not change


def test_a_half_without_nets_chooses_no_k():
    even = rows()[lambda table: table["net"] % 2 == 0]
    assert ricci.held_out_k(only(even))[0] == -1
    table = ricci.net_table(even, "directed", 1.0, 0)
    assert table["rho"].isna().all() and table["rho_in_sample"].notna().all() and (table["k"] == 0).all()
    assert table["shuffled_layers"].isna().all()


def test_net_table_has_every_net_at_every_choice_of_k():
    trained = opposite_at(opposite_at(rows(6), 0, 50), 1, 200)  # even nets choose 50, odd ones 200
    untrained = rows(4, seed=1, condition=UNTRAINED, accuracy=0.5)
    table = ricci.net_table(pd.concat([trained, untrained], ignore_index=True), "directed", 1.0, 0)
    assert table["condition"].tolist() == [TRAINED] * 6 + [UNTRAINED] * 4
    assert table["net"].tolist() == [*range(6), *range(4)] and (table["points"] == 1000).all()
    assert table["k"].tolist() == [200, 50] * 5
    assert set(table["k_in_sample"]) == set(table["k_own"][:6]) == {NEIGHBOURS[ricci.pooled(only(trained)).best]}
    assert set(table["k_own"][6:]) == {NEIGHBOURS[ricci.pooled(only(untrained, UNTRAINED)).best]}
    for part, condition in ((trained, TRAINED), (untrained, UNTRAINED)):
        lookup = part.set_index(["net", "k"])
        for _, line in table[table["condition"] == condition].iterrows():
            for suffix in ("", "_in_sample", "_own"):
                row = lookup.loc[(line["net"], line[f"k{suffix}"])]
                assert line[f"rho{suffix}"] == ricci_correlation(row["hop_sums"], row["directed_curvature"])
            row, index = lookup.loc[(line["net"], line["k_in_sample"])], np.arange(5)
            assert line["curvature_trend"] == pytest.approx(np.corrcoef(row["directed_curvature"], index)[0, 1])
            assert line["hop_sum_trend"] == pytest.approx(np.corrcoef(row["hop_sums"], index)[0, 1])
            assert line["eta_trend"] == pytest.approx(np.corrcoef(np.diff(row["hop_sums"]), index[1:])[0, 1])


def test_net_table_leaves_out_cells_without_well_trained_nets_and_marks_disconnected_nets():
    table = pd.concat([
        disconnect(rows(4), 1, 50), rows(4, seed=1, depth=11, accuracy=0.5),
        rows(4, seed=2, depth=11, condition=UNTRAINED),
    ], ignore_index=True)  # fmt: skip
    found = ricci.net_table(table[table["k"] == 50], "directed", 1.0, 0)
    assert set(found["depth"]) == {5} and found["rho"].isna().tolist() == [False, True, False, False]
    assert np.isnan(found["hop_sum_trend"][1]) and np.isfinite(found["curvature_trend"][1])


def test_shuffled_layers_are_all_orders_of_five_layers():
    table = rows(3)
    found = ricci.net_table(table, "directed", 1.0, 0)
    for _, line in found.iterrows():
        row = table[(table["net"] == line["net"]) & (table["k"] == line["k"])].iloc[0]
        g, curvature = np.array(row["hop_sums"]), np.array(row["directed_curvature"])
        orders = [list(order) for order in permutations(range(5))]
        negative = [np.corrcoef(np.diff(g[order]), curvature[order][:-1])[0, 1] < 0 for order in orders]
        assert line["shuffled_layers"] == np.mean(negative)


def test_orders_of_eleven_layers_are_500_random_ones():
    orders = ricci.layer_orders(11, seed=0)
    assert orders.shape == (500, 11) and (np.sort(orders, axis=1) == np.arange(11)).all()
    assert len(np.unique(orders, axis=0)) == 500
    assert np.array_equal(orders, ricci.layer_orders(11, seed=0)) and not np.array_equal(
        orders, ricci.layer_orders(11, 1)
    )


def test_scales_mark_one_best_k_a_cell_inside_its_interval():
    table = opposite_at(opposite_at(rows(), 0, 50), 1, 50)
    found = ricci.scales(pd.concat([table, rows(4, seed=1, depth=11)], ignore_index=True), "directed")
    assert found.groupby(KEY, sort=False)["best"].sum().tolist() == [1, 1]
    five = found[found["depth"] == 5]
    assert five["k"].tolist() == list(NEIGHBOURS) and five["best"].tolist() == [False, True, False]
    assert five["coefficient"].to_numpy() == pytest.approx([correlation_of_all_pairs(table, k) for k in NEIGHBOURS])
    assert five[["lower", "upper"]].isna().all(axis=1).tolist() == [False, True, False]  # -1 has no finite z
    five = five[~five["best"]]
    assert (five["lower"] < five["coefficient"]).all() and (five["coefficient"] < five["upper"]).all()


def test_interval_of_a_scale_leaves_out_each_connected_net_in_turn():
    table = disconnect(rows(8), 3, 50)
    found = ricci.scales(table, "directed").set_index("k").loc[50]
    others = [net for net in range(8) if net != 3]
    left_out = np.arctanh([correlation_of_all_pairs(table[table["net"] != net], 50) for net in others])
    half = t_distribution.ppf(0.975, 6) * 6 * left_out.std(ddof=1) / np.sqrt(7)
    centre = np.arctanh(found["coefficient"])
    assert [found["lower"], found["upper"]] == pytest.approx(np.tanh([centre - half, centre + half]))
    assert found["nets"] == 8


@pytest.mark.parametrize("count", [8, 12, 36])
def test_interval_of_a_scale_holds_the_truth_in_95_per_cent(count):
    # Every k is another sample of nets: their levels differ, and so do the correlations within them, -0.5 on average.
    samples, depth, rng = 2_000, 5, np.random.default_rng(count)
    noise, level = rng.normal(size=(2, count, samples, depth - 1)), rng.normal(0, 0.5, (2, count, samples, 1))
    along = rng.uniform(-0.9, -0.1, (count, samples, 1))
    hop_sums = np.pad(np.cumsum(noise[0] + level[0], axis=-1), [(0, 0), (0, 0), (1, 0)])
    curvature = np.pad(along * noise[0] + np.sqrt(1 - along**2) * noise[1] + level[1], [(0, 0), (0, 0), (0, 1)])
    index = pd.MultiIndex.from_product([range(count), range(1, samples + 1)], names=["net", "k"])
    table = pd.DataFrame({
        "hop_sums": list(hop_sums.reshape(-1, depth)), "directed_curvature": list(curvature.reshape(-1, depth)),
    }, index=index).reset_index().assign(
        dataset="A", architecture="narrow", depth=depth, condition=TRAINED, points=samples, test_accuracy=1.0,
        test_loss=0.1,
    )  # fmt: skip
    found = ricci.scales(table, "directed")
    holds = ((found["lower"] <= -0.4) & (found["upper"] >= -0.4)).sum()  # -0.5 over the variance 1 + 0.25 of both
    lowest, highest = binom.interval(0.999, samples, 0.95)
    assert lowest <= holds <= highest


def test_one_connected_net_has_a_coefficient_and_no_interval():
    table = rows(2, seed=3)
    found = ricci.scales(disconnect(table, 1, 50), "directed").set_index("k").loc[50]
    assert np.isfinite(found["coefficient"]) and found[["lower", "upper"]].isna().all()


def test_held_out_scales_average_each_half_at_the_other_halfs_k():
    table = opposite_at(opposite_at(rows(8), 0, 50), 1, 200)
    missing = rows(4, depth=11, accuracy=0.5)  # trained, but none well
    found = ricci.held_out_scales(pd.concat([table, missing], ignore_index=True), "directed", 1.0)
    halves = [table[table["net"] % 2 == parity] for parity in (0, 1)]
    expected = np.mean([correlation_of_all_pairs(halves[0], 200), correlation_of_all_pairs(halves[1], 50)])
    assert found["coefficient"][0] == pytest.approx(expected) and found["nets"].tolist() == [8, 0]
    assert found["lower"][0] < expected < found["upper"][0]
    one, two = np.arange(4) != np.arange(4)[:, None], [part["net"].unique() for part in halves]
    left_out = [
        np.mean(
            [
                correlation_of_all_pairs(halves[0][halves[0]["net"].isin(two[0][kept_0])], 200),
                correlation_of_all_pairs(halves[1][halves[1]["net"].isin(two[1][kept_1])], 50),
            ]
        )
        for kept_0, kept_1 in [*((kept, np.full(4, True)) for kept in one), *((np.full(4, True), kept) for kept in one)]
    ]
    half = t_distribution.ppf(0.95, 7) * 7 * np.arctanh(left_out).std(ddof=1) / np.sqrt(8)
    assert found["upper"][0] == pytest.approx(np.tanh(np.arctanh(expected) + half))
    assert found.loc[1, ["coefficient", "lower", "upper"]].isna().all() and found["depth"].tolist() == [5, 11]


# --- claims ---


def net_table(**columns):
    return pd.DataFrame({"dataset": "A", "architecture": "narrow", "depth": 5, "condition": TRAINED, **columns})


def two_states():
    """Four nets; the second has no trained state, the third is undefined untrained, the fourth was not measured so."""
    trained = net_table(net=[0, 2, 3], rho=[-0.5, -0.1, 0.3])
    untrained = net_table(net=[0, 1, 2], rho=[0.4, -0.2, np.nan], condition=UNTRAINED)
    return pd.concat([trained, untrained], ignore_index=True)


def test_shares_and_their_difference_by_hand():
    table = two_states()
    assert ricci_claims.share_negative(table, TRAINED) == stats.proportion(2, 3)
    assert ricci_claims.share_negative(table, UNTRAINED) == stats.proportion(1, 2)
    found = ricci_claims.share_difference(table, TRAINED, UNTRAINED, "rho")
    assert found.value == pytest.approx(2 / 3 - 1 / 2) and found.n == 4


def test_difference_of_shares_keeps_the_two_states_of_a_net_together():
    rng = np.random.default_rng(0)
    rho = rng.normal(size=200)

    def width(other):
        second = net_table(net=range(200), rho=other, condition=UNTRAINED)
        both = pd.concat([net_table(net=range(200), rho=rho), second])
        lower, upper = ricci_claims.share_difference(both, TRAINED, UNTRAINED, "rho").interval
        return upper - lower

    assert width(rho) == 0 and width(rng.normal(size=200)) == pytest.approx(2 * 1.96 * np.sqrt(0.5 / 200), rel=0.15)


def test_table_of_shares_has_what_is_defined():
    table = two_states().assign(rho_in_sample=[-1.0] * 6, rho_own=np.nan, shuffled_layers=[0.5, 0.7, 0.6, 0, 0, 0])
    found = ricci_claims.shares(table)
    layers = ricci_claims.SHUFFLED_LAYERS
    assert found[["condition", "choice"]].to_numpy().tolist() == [
        *([condition, "k held out"] for condition in (TRAINED, UNTRAINED, layers)),
        *([condition, "k held out,\n5 layers"] for condition in (TRAINED, UNTRAINED, layers)),
        [TRAINED, "k of trained nets"], [UNTRAINED, "k of trained nets"],
    ]  # fmt: skip
    assert found["share"].tolist() == pytest.approx([2 / 3, 1 / 2, 0.6] * 2 + [1, 1])
    assert found["nets"].tolist() == [3, 2, 3] * 2 + [3, 3]


def test_separation_is_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    trained, untrained = np.round(rng.normal(-0.5, 1, 40), 1), np.round(rng.normal(size=30), 1)  # with ties
    table = pd.concat([
        net_table(net=range(40), rho=trained), net_table(net=range(31), rho=[*untrained, np.nan], condition=UNTRAINED),
    ])  # fmt: skip
    area = roc_auc_score([1] * 40 + [0] * 30, -np.concatenate([trained, untrained]))
    assert ricci_claims.separation(table, TRAINED, UNTRAINED) == pytest.approx(area)


def test_gain_over_shuffled_layers_is_of_one_depth_of_trained_nets():
    table = net_table(net=range(4), rho=[-1.0, -0.5, 0.5, np.nan], shuffled_layers=[0.5, 0.4, 0.3, np.nan])
    others = [table.assign(depth=11, rho=1.0), table.assign(condition=UNTRAINED, rho=1.0)]
    found = ricci_claims.shuffled_layers(pd.concat([table, *others]), 5)
    assert found.value == pytest.approx(2 / 3 - 0.4) and found.n == 3


def test_all_cells_negative_counts_bounds():
    table = pd.DataFrame({"lower": [-0.5, -0.3, -0.2, 0.1, np.nan], "upper": [-0.1, -0.05, 0.1, 0.5, np.nan]})
    method = "one-sided bounds of the cells"
    assert ricci_claims.all_cells_negative(table) == stats.Estimate(0.4, 0.4, 0.8, 5, method)
    assert ricci_claims.all_cells_negative(table[:2]) == stats.Estimate(1.0, 1.0, 1.0, 2, method)


def regression_table(seed=0, nets=30, slope=0.0, interaction=0.0):
    """Nets of 12 cells: accuracy falls with rho within cells by `slope`; the means of both share an interaction."""
    rng = np.random.default_rng(seed)
    parts = []
    for dataset in "AB":
        for width in ("narrow", "wide", "bottleneck"):
            for depth in (5, 11):
                cell = interaction * ((dataset == "A") ^ (depth == 5))
                noise = rng.normal(size=(2, nets))
                rho = np.tanh(0.3 * noise[0] - 0.4 + cell)
                accuracy = np.clip(0.99 + 0.001 * (noise[1] - slope * noise[0] - 2 * cell), 0, 1)
                parts.append(
                    net_table(net=range(nets), rho=rho, rho_in_sample=rho, accuracy=accuracy, loss=0.1 * accuracy)
                    .assign(dataset=dataset, architecture=width, depth=depth, points=1000)
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_linked_nets_have_the_printed_and_the_usual_standardisation():
    table = regression_table()
    table.loc[3, "rho_in_sample"] = np.nan
    table.loc[5, "rho"] = np.nan
    table = pd.concat([table, table.assign(condition=UNTRAINED)])
    nets = ricci_claims.linked_nets(table)
    assert len(nets) == 359 and nets["cell"].nunique() == 12
    assert nets["z"].to_numpy() == pytest.approx(
        [float(standardise(rho, depth)) for rho, depth in nets[["rho_in_sample", "depth"]].to_numpy()]
    )
    deep = nets[nets["depth"] == 11]
    assert deep["z"].to_numpy() == pytest.approx(np.arctanh(deep["rho_in_sample"].to_numpy()) / np.sqrt(7))
    assert deep["standardised"].to_numpy() == pytest.approx(np.arctanh(deep["rho"].to_numpy()) * np.sqrt(7))
    assert nets["z_held_out"].isna().sum() == 1
    odds = nets["accuracy"] / (1 - nets["accuracy"])
    assert np.corrcoef(nets["log_odds"], np.log(odds))[0, 1] > 0.99 and np.isfinite(nets["log_odds"]).all()


def test_accuracy_link_is_the_partial_correlation_given_cells():
    nets = ricci_claims.linked_nets(regression_table(slope=0.8, interaction=1.0))
    found = ricci_claims.accuracy_link(nets)
    fit = regression.fit_regressor(nets["accuracy"], nets["z"], regression.dummies(nets, [KEY]))
    assert found.value == pytest.approx(fit.partial_correlation) and found.n == len(nets)
    assert found.interval == pytest.approx(fit.interval, abs=0.04) and found.upper < 0
    centred = ricci_claims.within_cells(nets)
    assert np.corrcoef(centred["z_centred"], centred["accuracy_centred"])[0, 1] == pytest.approx(found.value)


def test_additive_model_is_biased_where_cell_means_do_not_add_up_and_permutations_see_it():
    found = [
        ricci_claims.additive_permutation(ricci_claims.linked_nets(regression_table(seed, 6, interaction=0.6)), seed)
        for seed in range(60)
    ]
    t, null = (np.array([getattr(one, name) for one in found]) for name in ("t", "null_mean"))
    assert (null < -1).all() and np.mean(t < -1.96) > 0.8  # significant, and no relation within cells
    share = np.array([one.share.value for one in found])
    assert 0.35 < share.mean() < 0.65 and np.mean(share < 0.05) < 0.2  # uniform: 0.5 ± 0.037, and 0.05 ± 0.03
    assert found[0].share.n == ricci_claims.PERMUTATIONS
    additive = ricci_claims.additive_permutation(ricci_claims.linked_nets(regression_table(slope=1.0)), 0)
    assert additive.share.value == 0 and additive.t < -5 and abs(additive.null_mean) < 1


def test_every_fit_of_both_conventions():
    nets = ricci_claims.linked_nets(regression_table())
    nets.loc[nets.index[0], "z_held_out"] = np.nan
    found = ricci_claims.accuracy_models({"directed": nets, "union": nets}, seed=0)
    assert len(found) == 24 and found["nets"].value_counts().to_dict() == {360: 20, 359: 4}
    assert (found["t_lower"] < found["t"]).all() and (found["null_lower"] < found["null_mean"]).all()
    first = found.iloc[0]
    fit = regression.fit_regressor(
        nets["accuracy"], nets["z"], regression.dummies(nets, ricci_claims.MODELS["additive"])
    )
    assert (first["t"], first["p"], first["lower"]) == (fit.t, fit.p, fit.interval[0])
    assert fit.degrees_of_freedom == 360 - 6  # intercept, one set, two widths, one depth, z
    within = found[found["model"] == "cell intercepts"]
    assert np.allclose(within["permutation_p"], within["p"], atol=0.06)  # exchangeable there: the two agree


def test_power_table_holds_the_papers_size_and_ours():
    found = ricci_claims.power_table(200)
    assert (
        found["nets"].tolist() == [150, 200, 288, 500, 1227, 1512, 3000] and found["nets"][found["ours"]].item() == 200
    )
    assert found["power"].is_monotonic_increasing
    assert len(ricci_claims.power_table(1227)) == 6
    assert ricci_claims.power_of_paper(ricci_claims.ENOUGH_NETS) == pytest.approx(0.61, abs=0.005)


def test_well_trained_counts_every_cell():
    table = pd.concat([disconnect(rows(4), 1, 50), rows(3, seed=1, depth=11, accuracy=0.5)], ignore_index=True)
    table = table[table["k"] == 50]
    found = ricci_claims.well_trained(table, ricci.net_table(table, "directed", 1.0, 0))
    assert found[["depth", "nets", "near_perfect", "defined", "k"]].to_numpy().tolist() == [
        [5, 4, 4, 3, 50],
        [11, 3, 0, 0, 0],
    ]


def test_pooled_near_is_the_worst_architecture_at_its_best_k():
    cells = [
        ("A", "narrow", 5, 6, -0.5),
        ("A", "narrow", 5, 10, -0.7),
        ("A", "wide", 5, 6, -0.2),
        ("A", "wide", 5, 50, -0.9),
    ]
    scales = pd.DataFrame([*cells, ("B", "wide", 5, 6, 0.9)], columns=[*KEY, "k", "coefficient"])
    assert ricci_claims.pooled_near(scales, "A", 5, range(6, 11)) == -0.2


def test_difference_of_shares_leaves_out_cells_that_lack_a_condition_and_pairs_on_request():
    other = net_table(net=[0, 1], rho=[-1.0, -1.0]).assign(dataset="B")
    table = pd.concat([two_states(), other], ignore_index=True)
    alone, with_other = (ricci_claims.share_difference(t, TRAINED, UNTRAINED, "rho") for t in (two_states(), table))
    assert alone == with_other
    paired = ricci_claims.share_difference(table, TRAINED, UNTRAINED, "rho", paired=True)
    assert paired.n == 1 and paired.value == 1  # only net 0 has both: −0.5 and 0.4

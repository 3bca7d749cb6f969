"""Deep learning as Ricci flow (arXiv 2404.14265): from rows of hop sums and curvatures to coefficients and tables.

Rows come from `papers.ricci.nets.ensemble_cell`: one net at one k. A *cell of the study* is data set × architecture ×
depth. Its *pooled* coefficient at a k is one Pearson correlation over all (net, layer) pairs of its nets (the authors'
released script). A k is eligible where at least half of the nets have connected graphs; the best k is the eligible one
with the most negative pooled coefficient.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.geometry.graph import ricci_correlation, standardise
from repro.papers.ricci.study import CONDITIONS, KEY, NEAR_PERFECT, TRAINED, UNTRAINED
from repro.stats.estimate import FISHER_Z, from_left_out, student_t

Array = npt.NDArray[np.float64]
FITTED = 0.9  # training accuracy from which a net counts as fitted to its few or shuffled labels
CONNECTED = 0.5  # share of nets with connected graphs that makes a k eligible
ORDERS = 500  # random layer orders where there are too many to take all


class Nets(NamedTuple):
    """The nets of one cell of the study in one condition."""

    dataset: str
    architecture: str
    depth: int
    points: int  # n, test points
    neighbours: npt.NDArray[np.int64]  # (K,)
    net: npt.NDArray[np.int64]  # (nets,) number of each net
    accuracy: Array  # (nets,) on the test set
    loss: Array  # (nets,) cross-entropy in nats, on the test set
    hop_sums: Array  # (nets, K, L), inf where a graph is disconnected
    curvature: Array  # (nets, K, L)

    def select(self, chosen: npt.NDArray[np.bool_]) -> "Nets":
        """The nets where `chosen` (nets,) is true."""
        arrays = {name: getattr(self, name)[chosen] for name in ("net", "accuracy", "loss", "hop_sums", "curvature")}
        return self._replace(**arrays)

    @property
    def coefficients(self) -> Array:
        """ρ of every net at every k: (nets, K), NaN where it is undefined."""
        return ricci_correlation(self.hop_sums, self.curvature)


def judged_nets(rows: pd.DataFrame, condition: str, convention: str, largest_share: float = 1.0) -> list[Nets]:
    """The cells of the study in one condition, each with the nets that count.

    Trained nets count if they are near-perfect on the test set, nets with few or shuffled labels if their training
    accuracy is at least 0.9, untrained nets always. k up to `largest_share` of the points are kept.

    Raises:
        ValueError: if no trained net is near-perfect.
    """
    chosen = rows[(rows["condition"] == condition) & (rows["k"] <= largest_share * rows["points"])]
    if condition == TRAINED:
        chosen = chosen[chosen["test_accuracy"] > chosen["dataset"].map(NEAR_PERFECT)]
    elif condition != UNTRAINED:
        chosen = chosen[chosen["train_accuracy"] >= FITTED]
    if condition == TRAINED and chosen.empty:
        raise ValueError("no net exceeds the accuracy of its data set: train for longer, or on more points")
    return [_gather(part, convention) for _, part in chosen.groupby(KEY, sort=False)]


def _gather(rows: pd.DataFrame, convention: str) -> Nets:
    rows = rows.sort_values(["net", "k"])
    first = rows.drop_duplicates("net")
    shape = (len(first), -1, int(first["depth"].iloc[0]))
    dataset, architecture, depth, points = first[[*KEY, "points"]].iloc[0]
    return Nets(
        dataset, architecture, int(depth), int(points), np.sort(rows["k"].unique()), first["net"].to_numpy(),
        first["test_accuracy"].to_numpy(float), first["test_loss"].to_numpy(float),
        np.array(rows["hop_sums"].to_list(), float).reshape(shape),
        np.array(rows[f"{convention}_curvature"].to_list(), float).reshape(shape),
    )  # fmt: skip


class Pooled(NamedTuple):
    """Pooled coefficients of a cell at each k."""

    coefficient: Array  # (..., K), NaN where it is undefined
    connected: Array  # (..., K) share of nets with connected graphs at every layer

    @property
    def best(self) -> npt.NDArray[np.int64]:
        """Position of the best k: (...), −1 where no k is eligible."""
        eligible = np.where(self.connected >= CONNECTED, self.coefficient, np.nan)
        position = np.argmin(np.where(np.isnan(eligible), np.inf, eligible), axis=-1)
        return np.where(np.isnan(eligible).all(axis=-1), -1, position)


def pooled(nets: Nets, weights: npt.ArrayLike | None = None) -> Pooled:
    """One Pearson correlation over all (net, layer) pairs (η_l, Ric_l) of the connected nets, at each k.

    Args:
        nets: at least one net.
        weights: (..., nets), how often each net counts, as in a resample; all once by default.
    """
    with np.errstate(invalid="ignore"):  # inf − inf, where two graphs in a row are disconnected
        eta, curvature = np.diff(nets.hop_sums, axis=-1), nets.curvature[..., :-1]  # (nets, K, L - 1)
    connected = np.asarray(np.isfinite(nets.hop_sums).all(axis=-1))  # (nets, K)
    x, y = (_centred(values, connected) for values in (eta, curvature))
    sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1).sum(axis=2)  # (nets, K, 6)
    weight = np.ones(len(eta)) if weights is None else np.asarray(weights, np.float64)
    sums = np.where(connected[..., None], sums, 0.0)
    total = np.tensordot(weight, sums, 1)  # (..., K, 6)
    n, sx, sy, sxx, syy, sxy = np.moveaxis(total, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance, spread = sxy - sx * sy / n, (sxx - sx**2 / n) * (syy - sy**2 / n)
        coefficient = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), np.nan)
        share = weight @ connected / weight.sum(axis=-1, keepdims=True)
    return Pooled(coefficient, share)


def _centred(values: Array, connected: npt.NDArray[np.bool_]) -> Array:
    """Values less their mean over the connected nets and layers at each k, for the accuracy of the sums."""
    kept = np.where(connected[..., None], values, 0.0)
    count = np.maximum(connected.sum(axis=0), 1)[:, None] * values.shape[-1]
    return np.asarray(np.where(connected[..., None], kept - kept.sum(axis=(0, 2))[:, None] / count, 0.0))


def halves(nets: Nets) -> tuple[Nets, Nets]:
    """Nets of even and of odd number: k is chosen on one and judged on the other."""
    even = nets.net % 2 == 0
    return nets.select(even), nets.select(~even)


def held_out_k(nets: Nets) -> tuple[int, int]:
    """Position of the k at which nets of even and of odd number are judged: the best k of the *other* half, or −1."""
    even, odd = (int(pooled(half).best) if len(half.net) else -1 for half in halves(nets))
    return odd, even


def net_table(rows: pd.DataFrame, convention: str, largest_share: float, seed: int) -> pd.DataFrame:
    """Every judged net with its coefficients at the k chosen on other nets, on the same nets, and on its own condition.

    Columns: dataset, architecture, depth, condition, net, points, accuracy, loss; `k` and `rho` held out (k chosen on
    the other half of the cell's trained nets); `k_in_sample`, `rho_in_sample` (k chosen on all trained nets of the
    cell); `k_own`, `rho_own` (k chosen on all nets of this condition); `shuffled_layers`: share of the orders of the
    layers with a negative coefficient, at `k`; `curvature_trend`, `hop_sum_trend`, `eta_trend`: correlation with the
    layer index at `k_in_sample`, where η is the change of the hop sum into the next layer. A k is 0 where none is
    eligible, other undefined values are NaN.
    """
    by_condition = {
        condition: {nets[:3]: nets for nets in judged_nets(rows, condition, convention, largest_share)}
        for condition in CONDITIONS
    }
    tables = []
    for key, trained in by_condition[TRAINED].items():
        held_out, in_sample = held_out_k(trained), int(pooled(trained).best)
        for condition, cells in by_condition.items():
            if key in cells:
                table = _coefficients(cells[key], held_out, in_sample, seed)
                tables.append(table.assign(condition=condition))
    return pd.concat(tables, ignore_index=True)


def _coefficients(nets: Nets, held_out: tuple[int, int], in_sample: int, seed: int) -> pd.DataFrame:
    every, at = np.arange(len(nets.net)), np.array(held_out)[nets.net % 2]
    positions = {"": at, "_in_sample": np.full_like(at, in_sample), "_own": np.full_like(at, pooled(nets).best)}
    columns: dict[str, object] = dict(zip(KEY, nets[:3], strict=True))
    columns |= {"net": nets.net, "points": nets.points, "accuracy": nets.accuracy, "loss": nets.loss}
    rho = nets.coefficients
    for suffix, found in positions.items():
        columns[f"k{suffix}"] = np.where(found >= 0, nets.neighbours[found], 0)
        columns[f"rho{suffix}"] = np.where(found >= 0, rho[every, found], np.nan)
    shuffled = _shuffled_layers(nets.hop_sums[every, at], nets.curvature[every, at], seed)
    columns["shuffled_layers"] = np.where(at >= 0, shuffled, np.nan)
    hop_sums = np.where(np.isfinite(nets.hop_sums), nets.hop_sums, np.nan)
    trends = {"curvature": nets.curvature, "hop_sum": hop_sums, "eta": np.diff(hop_sums, axis=-1)}
    for name, values in trends.items():
        columns[f"{name}_trend"] = _trend(values[:, in_sample]) if in_sample >= 0 else np.nan
    return pd.DataFrame(columns)


def _shuffled_layers(hop_sums: Array, curvature: Array, seed: int) -> Array:
    """Share of orders of the layers, pairs (g_l, Ric_l) kept together, with a negative ρ: (..., L) → (...)."""
    orders = layer_orders(hop_sums.shape[-1], seed)
    rho = ricci_correlation(hop_sums[..., orders], curvature[..., orders])
    return np.where(np.isnan(rho).any(axis=-1), np.nan, (rho < 0).mean(axis=-1))


def layer_orders(depth: int, seed: int) -> npt.NDArray[np.int64]:
    """All orders of up to 5 layers, else 500 random ones: (orders, depth)."""
    if depth <= 5:
        return np.array(list(permutations(range(depth))))
    generator = np.random.default_rng([seed, depth])
    return generator.permuted(np.tile(np.arange(depth), (ORDERS, 1)), axis=1)


def _trend(values: Array) -> Array:
    """Correlation of (nets, L) values with the layer index, NaN where values are undefined or constant."""
    index = np.arange(values.shape[-1]) - (values.shape[-1] - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = values - values.mean(axis=-1, keepdims=True)
        return np.asarray(deviation @ index / np.sqrt((deviation**2).sum(axis=-1) * (index @ index)))


def scales(rows: pd.DataFrame, convention: str, largest_share: float = 1.0) -> pd.DataFrame:
    """Pooled coefficient of every cell at every k, with its 95 % interval over nets (jackknife t of Fisher z).

    Columns: dataset, architecture, depth, points, k, coefficient, lower, upper, connected, nets, best (of the cell).
    """
    tables = []
    for nets in judged_nets(rows, TRAINED, convention, largest_share):
        found = pooled(nets)
        estimates = [
            from_left_out(value, _left_out_at(nets, position), FISHER_Z)
            for position, value in enumerate(found.coefficient)
        ]
        lower, upper = np.array([estimate.interval for estimate in estimates]).T
        best = np.arange(len(nets.neighbours)) == found.best
        cell = dict(zip(KEY, nets[:3], strict=True)) | {"points": nets.points, "k": nets.neighbours}
        cell |= {"coefficient": found.coefficient, "lower": lower, "upper": upper, "connected": found.connected}
        tables.append(pd.DataFrame(cell | {"nets": len(nets.net), "best": best}))
    return pd.concat(tables, ignore_index=True)


def _left_out_at(nets: Nets, position: int) -> Array:
    """Pooled coefficient at one k without each of the nets that are connected there: (connected nets,)."""
    connected = np.asarray(np.isfinite(nets.hop_sums[:, position]).all(axis=-1))
    here = nets._replace(hop_sums=nets.hop_sums[:, [position]], curvature=nets.curvature[:, [position]])
    count = int(connected.sum())
    return pooled(here.select(connected), 1 - np.eye(count)).coefficient[:, 0]


def held_out_scales(rows: pd.DataFrame, convention: str, largest_share: float) -> pd.DataFrame:
    """Pooled coefficient of every cell at k chosen on the other half of its nets, averaged over the two halves.

    The bounds are Student t on the jackknife pseudo-values of Fisher's z of the average: each net of either half is
    left out in turn, with both k as they were chosen.

    Columns: dataset, architecture, depth, nets, coefficient, lower, upper: one-sided 95 % bounds over nets each. NaN
    where a half has no net that counts or no eligible k, also in cells without any net that counts.
    """
    table = []
    for nets in judged_nets(rows, TRAINED, convention, largest_share):
        judged = list(zip(halves(nets), held_out_k(nets), strict=True))
        line: list[Any] = [np.nan] * 3
        if all(len(half.net) and position >= 0 for half, position in judged):
            line = _average_of_halves(judged)
        table.append([*nets[:3], len(nets.net), *line])
    found = pd.DataFrame(table, columns=[*KEY, "nets", "coefficient", "lower", "upper"])
    cells = rows.loc[rows["condition"] == TRAINED, KEY].drop_duplicates()
    return cells.merge(found, how="left", on=KEY).fillna({"nets": 0}).astype({"nets": int})


def _average_of_halves(judged: Sequence[tuple[Nets, int]]) -> list[float]:
    """Average coefficient of two halves, each at a position of k, with its one-sided 95 % bounds."""
    coefficients = [pooled(half).coefficient[position] for half, position in judged]
    without = [_left_out_at(half, position) for half, position in judged]
    left_out = np.concatenate([(one + other) / 2 for one, other in zip(without, coefficients[::-1], strict=True)])
    found = from_left_out(np.mean(coefficients), left_out, FISHER_Z)
    bounds = found.with_critical_value(student_t(found.n, 0.90), "one-sided jackknife t")  # 5 % beyond each end
    return [bounds.value, *bounds.interval]


def adjusted(rho: npt.ArrayLike, depth: npt.ArrayLike) -> Array:
    """z = arctanh(ρ)/√(L − 4), as printed, of nets of several depths."""
    coefficients, layers = np.broadcast_arrays(np.asarray(rho, float), np.asarray(depth))
    z = np.empty(coefficients.shape)
    for count in np.unique(layers):
        z[layers == count] = standardise(coefficients[layers == count], int(count))
    return z

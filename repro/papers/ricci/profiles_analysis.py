"""The pooled Ricci coefficient over k (arXiv 2404.14265, Fig. 3): best scales, groups of cells, trends by layer."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from repro.papers.ricci.coefficients import Nets, Pooled, judged_nets, pooled
from repro.papers.ricci.study import KEY, PUBLISHED_BEST, PUBLISHED_POINTS, TRAINED, kind
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]
RESAMPLES = 2000  # of the nets of a cell
_COLUMNS = [(width, depth) for depth in (5, 11) for width in ("narrow", "wide", "bottleneck")]


def cells_of_kind(rows: pd.DataFrame, convention: str, largest_share: float) -> Iterator[tuple[str, list[Nets]]]:
    """The cells of each kind of data that has any with a pooled coefficient at some k."""
    cells = judged_nets(rows, TRAINED, convention, largest_share)
    defined = [nets for nets in cells if np.isfinite(pooled(nets).coefficient).any()]
    for name in ("synthetic", "images"):
        chosen = [nets for nets in defined if kind(nets.dataset) == name]
        if chosen:
            yield name, chosen


def best_scales(scales: pd.DataFrame) -> pd.DataFrame:
    """Best k of each cell beside the published one, as shares of n; takes `papers.ricci.coefficients.scales`.

    Columns: dataset, architecture, depth, k, coefficient, share, published_k, published_share (NaN for depths that
    the paper does not have), at_edge (largest k).
    """
    best = scales.assign(largest=scales.groupby(KEY)["k"].transform("max")).query("best").reset_index(drop=True)
    cells = ((dataset, *column) for dataset in PUBLISHED_BEST for column in _COLUMNS)
    published = dict(zip(cells, itertools.chain(*PUBLISHED_BEST.values()), strict=True))
    published_k = np.array([published.get(cell, np.nan) for cell in best[KEY].itertuples(index=False, name=None)])
    return best[[*KEY, "k", "coefficient"]].assign(
        share=best["k"] / best["points"],
        published_k=published_k,
        published_share=published_k / best["dataset"].map(PUBLISHED_POINTS).fillna(1000),
        at_edge=best["k"] == best["largest"],
    )


def median_scale(cells: Sequence[Nets], seed: int) -> stats.Estimate:
    """Median over cells of best k / n, with a percentile bootstrap interval over nets.

    k is chosen anew in each resample. The median then moves in steps of the grid of k, for which the jackknife is not
    made: where no net that is left out makes a step, its standard error is 0. Cells without an eligible k are left out.
    """
    generator = np.random.default_rng(seed)
    judged = [(nets, found) for nets in cells if (found := pooled(nets)).best >= 0]
    median = np.median([_share(nets, found) for nets, found in judged])
    medians = np.nanmedian([_share(nets, resampled(nets, generator)) for nets, _ in judged], axis=0)
    low, high = quantiles(medians, 0.025, 0.975)
    units = sum(len(nets.net) for nets, _ in judged)
    return stats.Estimate(float(median), float(low), float(high), units, "percentile bootstrap")


def resampled(nets: Nets, generator: np.random.Generator, resamples: int = RESAMPLES) -> Pooled:
    """Pooled coefficients of bootstrap samples of the nets: (resamples, K)."""
    count = len(nets.net)
    return pooled(nets, generator.multinomial(count, np.full(count, 1 / count), size=resamples))


def quantiles(replicates: Array, low: float, high: float) -> tuple[Array, Array]:
    """Quantiles over resamples (resamples, ...) that are defined, NaN where fewer than nine in ten are.

    With few nets a resample can hold none whose graphs are connected.
    """
    defined = np.isfinite(replicates).mean(axis=0) >= 0.9
    lower, upper = np.nanquantile(np.where(defined, replicates, 0.0), [low, high], axis=0)
    return np.where(defined, lower, np.nan), np.where(defined, upper, np.nan)


def _share(nets: Nets, found: Pooled) -> Array:
    return np.asarray(np.where(found.best >= 0, nets.neighbours[found.best] / nets.points, np.nan))


class Grouping(NamedTuple):
    """How well two clusters of profiles agree with the cells' depth and data set."""

    depth: float  # adjusted Rand index
    dataset: float  # adjusted Rand index
    difference: stats.Estimate  # of the expected one over the other


def grouping(cells: Sequence[Nets], seed: int, expected: str) -> Grouping:
    """Adjusted Rand indices of two Ward clusters of the cells' profiles with depth and with data set.

    The interval is that of the percentile bootstrap. Clusters jump or stay when a net is left out, for which the
    jackknife is not made: where all stay, its standard error is 0.

    Args:
        cells: of one kind of data.
        seed: seeds the resampling of nets within cells.
        expected: "depth" or "dataset", from whose index the other one is subtracted.

    Raises:
        ValueError: for another `expected`, fewer than two data sets or depths, or a cell without any coefficient.
    """
    if expected not in ("depth", "dataset"):
        raise ValueError(f"expected 'depth' or 'dataset', got {expected!r}")
    depth, dataset = [nets.depth for nets in cells], [nets.dataset for nets in cells]
    if min(len(set(depth)), len(set(dataset))) < 2:
        raise ValueError(f"expected two data sets and depths, got {sorted(set(dataset))} and {sorted(set(depth))}")

    def difference(indices: tuple[float, float]) -> float:
        of_depth, of_dataset = indices
        return of_depth - of_dataset if expected == "depth" else of_dataset - of_depth

    generator = np.random.default_rng(seed)
    found = _agreement(_profiles([pooled(nets) for nets in cells]), depth, dataset)
    again = _profiles([resampled(nets, generator) for nets in cells])  # (cells, resamples, K)
    replicates = [
        difference(_agreement(sample, depth, dataset)) if np.isfinite(sample).all() else np.nan
        for sample in np.moveaxis(again, 1, 0)
    ]
    low, high = quantiles(np.array(replicates), 0.025, 0.975)
    units = sum(len(nets.net) for nets in cells)
    interval = float(low), float(high)
    return Grouping(*found, stats.Estimate(difference(found), *interval, units, "percentile bootstrap"))


def _profiles(found: Sequence[Pooled]) -> Array:
    """Profiles over k: (cells, ..., K); an undefined value takes the mean of its profile, if that has any."""
    profiles = np.array([cell.coefficient for cell in found])
    undefined = np.isnan(profiles)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(profiles, axis=-1, keepdims=True) / (~undefined).sum(axis=-1, keepdims=True)
    return np.where(undefined, mean, profiles)


def _agreement(profiles: Array, depth: Sequence[int], dataset: Sequence[str]) -> tuple[float, float]:
    clusters = fcluster(linkage(profiles, method="ward"), 2, criterion="maxclust")
    return float(adjusted_rand_score(depth, clusters)), float(adjusted_rand_score(dataset, clusters))


def trees(kinds: Mapping[str, Sequence[Nets]]) -> pd.DataFrame:
    """Ward dendrograms of the cells of each kind of data by their profiles over k, as SciPy writes them.

    Columns: kind, left, right (numbers of the joined cells, or of earlier joins from the number of cells on), distance,
    cells (of the joined cluster), and in the first rows of each kind, one a cell: name.
    """
    tables = []
    for kind_of_data, cells in kinds.items():
        tree = linkage(_profiles([pooled(nets) for nets in cells]), method="ward")
        table = pd.DataFrame(tree, columns=["left", "right", "distance", "cells"]).reindex(range(len(cells)))
        names = [f"{nets.dataset} {nets.architecture} {nets.depth}" for nets in cells]
        tables.append(table.assign(kind=kind_of_data, name=names))
    return pd.concat(tables, ignore_index=True)


def layer_trend(table: pd.DataFrame, name: str, column: str) -> stats.Estimate:
    """Mean over trained nets of one kind of data of a correlation with the layer index; takes the net table.

    Args:
        table: see `papers.ricci.coefficients.net_table`.
        name: "synthetic" or "images".
        column: "curvature_trend", "hop_sum_trend" or "eta_trend".
    """
    values = table.loc[(table["condition"] == TRAINED) & (table["dataset"].map(kind) == name), column].dropna()
    return stats.mean(values)


def layers(rows: pd.DataFrame, convention: str, largest_share: float) -> pd.DataFrame:
    """Mean hop distance and curvature by layer, of the trained nets of each cell at its best k.

    Columns: dataset, architecture, depth, k, layer, quantity ("hop distance", "curvature"), mean, lower, upper, seeds.
    Hop sums are per ordered pair of points. Of the curvature Ric/n the 4k − 4k² of equal in-degrees is taken off and
    the rest divided by k²: without ties this is −Var(in-degree)/k² in directed graphs, which compares between k.
    """
    tables = []
    for nets in judged_nets(rows, TRAINED, convention, largest_share):
        best = int(pooled(nets).best)
        if best < 0:
            continue
        k, n = nets.neighbours[best], nets.points
        connected = np.isfinite(nets.hop_sums[:, best]).all(axis=-1)
        for quantity, values in (
            ("hop distance", nets.hop_sums[connected, best] / (n * (n - 1))),
            ("curvature", (nets.curvature[connected, best] / n - 4 * k + 4 * k**2) / k**2),
        ):
            cell = dict(zip(KEY, nets[:3], strict=True)) | {"k": k, "layer": np.arange(1, nets.depth + 1)}
            tables.append(stats.mean(values).frame(**cell, quantity=quantity))
    return pd.concat(tables, ignore_index=True)


def scale_by_data(cells: Sequence[Nets], best: pd.DataFrame, name: str, seed: int) -> stats.Finding:
    """`median_scale` of one kind of data, with the median on the wider grid of k and the share of cells at its edge.

    Takes the cells of that kind, and `best_scales` of both grids, named in a column `grid`.
    """
    widest = best[(best["grid"] == "all k") & (best["dataset"].map(kind) == name)]
    values = {"all_k": widest["share"].median(), "at_edge": widest["at_edge"].mean()}
    return stats.Finding(median_scale(cells, seed), values)


def curvature_trend(table: pd.DataFrame, name: str) -> stats.Finding:
    """`layer_trend` of curvature for one kind of data, with those of distances, of their change, and by depth."""
    trends = {"hop_sum": "hop_sum_trend", "distance_change": "eta_trend"}
    values = {key: layer_trend(table, name, column).value for key, column in trends.items()}
    for depth, part in table[table["dataset"].map(kind) == name].groupby("depth"):
        values[f"depth_{depth}"] = layer_trend(part, name, "curvature_trend").value
    return stats.Finding(layer_trend(table, name, "curvature_trend"), values)


def can_group(cells: Sequence[Nets]) -> bool:
    """Whether there are two data sets and two depths, between which profiles can be grouped."""
    return min(len({nets.dataset for nets in cells}), len({nets.depth for nets in cells})) > 1


def grouping_difference(cells: Sequence[Nets], name: str, seed: int) -> stats.Finding:
    """`grouping` of one kind of data by what the paper says groups it: images by depth, else by data set."""
    found = grouping(cells, seed, "depth" if name == "images" else "dataset")
    return stats.Finding(found.difference, {"depth": found.depth, "dataset": found.dataset})

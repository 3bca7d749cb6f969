"""Spectra of the average geometry: rows of `papers.gih.spectrum` to numbers and tables."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]


def labelled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of several networks in one table, with their names in column network."""
    return pd.concat([table.assign(network=name) for name, table in tables.items()], ignore_index=True)


def participation(rows: pd.DataFrame, network: str) -> stats.Finding:
    """Unbiased participation ratio over the number of inputs of one network, mean over draws; k90, k99 beside it."""
    part = rows[rows["network"] == network]
    values = {name: float(part[name].mean()) for name in ("biased", "k90", "k99", "top_16")}
    return stats.Finding(stats.mean(part["participation"].to_numpy(float), stats.LOGARITHM), values)


def rank_over_law(rows: pd.DataFrame, stride: int) -> stats.Finding:
    """Rank over the square of the stride: median over draws, with the whole range as its interval."""
    part = rows[rows["stride"] == stride]
    ratio = part["rank"].to_numpy(float) / stride**2
    found = stats.Estimate(float(np.median(ratio)), float(ratio.min()), float(ratio.max()), len(ratio), "whole range")
    return stats.Finding(found, {"off": float(part["off"].max())})


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each network: quantity (participation, k90, k99, top_16), mean, lower, upper, draws; counts over inputs."""
    tables = []
    for network, part in rows.groupby("network", sort=False):
        size = len(part["values"].iloc[0])
        for quantity, scale in (("participation", 1), ("k90", size), ("k99", size), ("top_16", 1)):
            found = stats.mean(part[quantity].to_numpy(float) / scale, stats.LOGARITHM)
            tables.append(found.frame("draws", network=network, quantity=quantity))
    return pd.concat(tables, ignore_index=True)


def spectra(rows: pd.DataFrame) -> pd.DataFrame:
    """Eigenvalues over their mean: network, index (from 1), mean, lower, upper, draws."""
    tables = []
    for network, part in rows.groupby("network", sort=False):
        values = np.array(part["values"].tolist()).clip(min=1e-12)
        found = stats.mean(values, stats.LOGARITHM)
        tables.append(found.frame("draws", network=network, index=np.arange(1, values.shape[1] + 1)))
    return pd.concat(tables, ignore_index=True)


def fourier(rows: pd.DataFrame, groups: int = 4) -> pd.DataFrame:
    """Energy at the stride's frequencies, in groups: network, first, mean, lower, upper, draws, chance."""
    tables = []
    for network, part in rows.groupby("network", sort=False):
        values = np.array(part["fourier"].tolist())
        grouped = values.reshape(len(values), -1, groups).mean(axis=2)
        first = 1 + groups * np.arange(grouped.shape[1])
        chance = float(part["chance"].iloc[0])
        tables.append(stats.mean(grouped).frame("draws", network=network, first=first, chance=chance))
    return pd.concat(tables, ignore_index=True)


def strides(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Of each variant of the net: variant, stride, quantity (rank, participation), mean, lower, upper, draws."""
    found = []
    for variant, rows in tables.items():
        for stride, part in rows.groupby("stride"):
            for quantity in ("rank", "participation"):
                values = part[quantity].to_numpy(float)
                spread = stats.mean(values, stats.LOGARITHM)
                found.append(spread.frame("draws", variant=variant, stride=stride, quantity=quantity))
    return pd.concat(found, ignore_index=True)


def pictures(rows: pd.DataFrame) -> pd.DataFrame:
    """Eigenvectors kept of the first draw: network, vector (from 1), row, column, value over the largest."""
    tables = []
    for network, part in rows[rows["draw"] == rows["draw"].min()].groupby("network", sort=False):
        for number, pixels in enumerate(part["pictures"].iloc[0], start=1):
            image = np.array(pixels)
            side = round(len(image) ** 0.5)
            image = image / np.abs(image).max()
            image = image * np.sign(image[np.abs(image).argmax()])  # the sign of an eigenvector is arbitrary
            down, across = np.divmod(np.arange(len(image)), side)
            tables.append(
                pd.DataFrame({"network": network, "vector": number, "row": down, "column": across, "value": image})
            )
    return pd.concat(tables, ignore_index=True)

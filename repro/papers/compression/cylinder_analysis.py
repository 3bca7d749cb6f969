"""The cylinder, whose label depends on several directions (arXiv 2007.11471): numbers and tables."""

import pandas as pd

from repro.papers.compression.amplification_analysis import table_by_seed
from repro.papers.compression.exponents_analysis import REGIMES, curve
from repro.stats import estimate as stats


def gain(rows: pd.DataFrame) -> pd.DataFrame:
    """Ratio of mean errors, lazy over feature, and Λ_A at t* (geometric mean), by informative directions, d and p."""
    tables = []
    for (informative, dimension), chosen in rows.groupby(["informative", "dimension"]):
        feature, lazy = (curve(chosen, regime, chosen["dimension"].iloc[0]) for regime in REGIMES)
        ratio = stats.ratio_of_means(lazy.errors, feature.errors)
        nets = table_by_seed(chosen[chosen["regime"] == "feature"], "train_size", "amplification_A")
        axis = {"informative": informative, "dimension": dimension, "train_size": feature.sizes}
        tables.append(ratio.frame(quantity="error ratio", **axis))
        tables.append(stats.geometric_mean(nets).frame(quantity="amplification", **axis))
    return pd.concat(tables, ignore_index=True)

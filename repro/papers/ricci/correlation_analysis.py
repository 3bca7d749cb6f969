"""The judged statistics of the Ricci study (arXiv 2404.14265), and the tables of its figures, out of the net table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats as distributions

from repro.papers.ricci.coefficients import adjusted, held_out_scales
from repro.papers.ricci.study import (
    CONDITIONS,
    FEW,
    KEY,
    PUBLISHED_NETS,
    PUBLISHED_PARTIAL_CORRELATION,
    SHUFFLED,
    TRAINED,
    UNTRAINED,
)
from repro.stats import estimate as stats
from repro.stats import regression

Array = npt.NDArray[np.float64]
SHUFFLED_LAYERS = "shuffled layers"  # trained nets, pairs of hop sum and curvature in other orders
ENOUGH_NETS = 1200  # where the paper's effect would be found in 61 of 100 runs
PERMUTATIONS = 2000
MODELS = {"additive": [["dataset"], ["architecture"], ["depth"]], "cell intercepts": [KEY]}
FITS = {  # regressor and outcome of each fit
    "z, as printed": ("z", "accuracy"),
    "z, standardised": ("standardised", "accuracy"),
    "coefficient ρ": ("rho", "accuracy"),
    "z, k held out": ("z_held_out", "accuracy"),
    "z; log-odds of accuracy": ("z", "log_odds"),
    "z; minus test loss": ("z", "loss"),
}


def share_negative(table: pd.DataFrame, condition: str, column: str = "rho") -> stats.Estimate:
    """Share of nets of a condition with a negative coefficient, of those where it is defined; exact interval."""
    values = table.loc[table["condition"] == condition, column].dropna()
    return stats.proportion(int((values < 0).sum()), len(values))


def share_difference(table: pd.DataFrame, first: str, second: str, column: str, paired: bool = False) -> stats.Estimate:
    """Share negative in one condition minus that in another, over the cells that have nets of both.

    A net is one unit, whichever of the two conditions it has; `paired` leaves out nets that lack one.
    """
    wide = table.pivot(index=[*KEY, "net"], columns="condition", values=column).reindex(columns=[first, second])
    both = wide.notna().groupby(KEY).transform("any").all(axis=1)
    wide = wide[both & (wide.notna().all(axis=1) if paired else wide.notna().any(axis=1))]
    arrays = [array.to_numpy(float) for name in (first, second) for array in (wide[name].notna(), wide[name] < 0)]
    return stats.estimate(_difference_of_shares, *arrays)


def _difference_of_shares(defined_1: Array, negative_1: Array, defined_2: Array, negative_2: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        one = negative_1.sum(axis=0) / defined_1.sum(axis=0)
        return np.asarray(one - negative_2.sum(axis=0) / defined_2.sum(axis=0))


def shuffled_layers(table: pd.DataFrame, depth: int) -> stats.Estimate:
    """Share of trained nets of a depth with a negative coefficient, minus the share of shuffled layer orders."""
    nets = table[(table["condition"] == TRAINED) & (table["depth"] == depth)].dropna(subset=["rho", "shuffled_layers"])
    difference = (nets["rho"] < 0).to_numpy(float) - nets["shuffled_layers"].to_numpy(float)
    return stats.mean(difference)


def separation(table: pd.DataFrame, first: str, second: str, column: str = "rho") -> float:
    """Probability that a net of the first condition has the lower coefficient of two drawn at random (AUC)."""
    one, two = (table.loc[table["condition"] == name, column].dropna() for name in (first, second))
    below = distributions.mannwhitneyu(two, one).statistic
    return float(below / (len(one) * len(two)))


def all_cells_negative(scales: pd.DataFrame) -> stats.Estimate:
    """Share of cells whose upper bound lies below 0; the interval ends at the share not shown to be positive.

    Takes the table of `papers.ricci.coefficients.held_out_scales`. A cell without an eligible k counts as neither.
    """
    confirmed, refuted = scales["upper"] < 0, scales["lower"] > 0
    share = float(confirmed.mean())
    return stats.Estimate(share, share, float(1 - refuted.mean()), len(scales), "one-sided bounds of the cells")


def linked_nets(table: pd.DataFrame) -> pd.DataFrame:
    """Trained nets with a defined coefficient, as the regressions take them: z, standardised, log_odds, cell, …"""
    nets = table[table["condition"] == TRAINED].dropna(subset=["rho_in_sample"])
    correct = nets["accuracy"] * nets["points"]
    z = adjusted(nets["rho_in_sample"], nets["depth"])
    return nets.assign(
        rho=nets["rho_in_sample"],
        z=z,
        standardised=z * (nets["depth"] - 4),  # times √(L − 4) instead of divided by it
        z_held_out=adjusted(nets["rho"], nets["depth"]),
        log_odds=np.log((correct + 0.5) / (nets["points"] - correct + 0.5)),
        loss=-nets["loss"],
        cell=nets.groupby(KEY, sort=False).ngroup(),
    )


def accuracy_link(nets: pd.DataFrame) -> stats.Estimate:
    """Partial correlation of z with test accuracy given cell intercepts; takes `linked_nets`."""
    return stats.within_group_correlation(nets["z"], nets["accuracy"], nets["cell"])


class Permutation(NamedTuple):
    """The paper's test of the coefficient, held against permutations of accuracy within cells."""

    t: float  # of z in the additive model
    null_mean: float  # mean t of the permutations; not 0 where cell means do not add up
    share: stats.Estimate  # share of permutations with a t of at most the observed one


def additive_permutation(nets: pd.DataFrame, seed: int) -> Permutation:
    """The paper's additive model of accuracy on z, and its null; takes `linked_nets`."""
    fit, null = _with_null(nets, "z", "accuracy", MODELS["additive"], seed)
    return Permutation(fit.t, float(null.mean()), stats.proportion(int((null <= fit.t).sum()), PERMUTATIONS))


def within_cells(nets: pd.DataFrame) -> pd.DataFrame:
    """z and accuracy of each net less the means of its cell; takes `linked_nets`."""
    centred = {name: nets[name] - nets.groupby("cell")[name].transform("mean") for name in ("z", "accuracy")}
    return nets[[*KEY, "net"]].assign(z_centred=centred["z"], accuracy_centred=centred["accuracy"])


def accuracy_models(nets: Mapping[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """Every pre-stated fit of test accuracy on the coefficient; takes `linked_nets` by convention.

    Columns: convention, model, name, t, t_lower, t_upper (95 %), p, partial_correlation, lower, upper, nets, and of
    the t under permutation within cells: null_mean, null_lower, null_upper (95 %), permutation_p (two-sided).
    """
    table = [
        [convention, model, name, *_fit(part.dropna(subset=[regressor]), regressor, outcome, terms, seed)]
        for convention, part in nets.items()
        for model, terms in MODELS.items()
        for name, (regressor, outcome) in FITS.items()
    ]
    columns = ["convention", "model", "name", "t", "t_lower", "t_upper", "p", "partial_correlation"]
    columns += ["lower", "upper", "nets", "null_mean", "null_lower", "null_upper", "permutation_p"]
    return pd.DataFrame(table, columns=columns)


def _fit(nets: pd.DataFrame, regressor: str, outcome: str, terms: Sequence[list[str]], seed: int) -> list[float]:
    fit, null = _with_null(nets, regressor, outcome, terms, seed)
    half = float(distributions.t.ppf(0.975, fit.degrees_of_freedom))
    beyond = np.abs(null - null.mean()) >= abs(fit.t - null.mean())
    line = [fit.t, fit.t - half, fit.t + half, fit.p, fit.partial_correlation, *fit.interval, fit.n]
    return [*line, float(null.mean()), *np.quantile(null, [0.025, 0.975]).tolist(), float(beyond.mean())]


def _with_null(
    nets: pd.DataFrame, regressor: str, outcome: str, terms: Sequence[list[str]], seed: int
) -> tuple[regression.Fit, Array]:
    """The test of a regressor, and its t when the outcome is permuted within cells."""
    nuisance, generator = regression.dummies(nets, terms), np.random.default_rng(seed)
    fit = regression.fit_regressor(nets[outcome], nets[regressor], nuisance)
    return fit, regression.permuted_t(nets[outcome], nets[regressor], nuisance, nets["cell"], PERMUTATIONS, generator)


def power_of_paper(nets: int) -> float:
    """Probability that the paper's own test would find its effect (partial correlation −0.065) among so many nets."""
    return regression.power(PUBLISHED_PARTIAL_CORRELATION, nets, nuisance_terms=10)


def power_table(nets: int) -> pd.DataFrame:
    """`power_of_paper` for several numbers of nets, `nets`, which is ours, among them."""
    sizes = sorted({150, 288, 500, PUBLISHED_NETS, 1512, 3000, nets})
    return pd.DataFrame({"nets": sizes, "power": map(power_of_paper, sizes), "ours": [n == nets for n in sizes]})


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share negative of each condition by how k was chosen, and of trained nets with their layers in shuffled order.

    Columns: condition, choice, share, lower, upper (95 %; exact, for shuffled layers jackknife t over nets), nets.
    """
    choices = [("k held out", "rho", table)]
    choices += [(f"k held out,\n{depth} layers", "rho", part) for depth, part in table.groupby("depth")]
    choices += [("k of trained nets", "rho_in_sample", table), ("own best k", "rho_own", table)]
    rows = []
    for choice, column, part in choices:
        for condition in CONDITIONS:
            if part.loc[part["condition"] == condition, column].notna().any():
                found = share_negative(part, condition, column)
                rows.append([condition, choice, found.value, *found.interval, found.n])
        if column == "rho":
            values = part.loc[part["condition"] == TRAINED, "shuffled_layers"].dropna().to_numpy(float)
            found = stats.mean(values)
            rows.append([SHUFFLED_LAYERS, choice, found.value, *found.interval, found.n])
    return pd.DataFrame(rows, columns=["condition", "choice", "share", "lower", "upper", "nets"])


def well_trained(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """How many nets each cell trained, how many met its accuracy, and how many have a defined coefficient.

    Columns: dataset, architecture, depth, nets, near_perfect, defined, k (in-sample).
    """
    all_nets = rows[rows["condition"] == TRAINED].drop_duplicates([*KEY, "net"]).groupby(KEY, sort=False).size()
    trained = table[table["condition"] == TRAINED].groupby(KEY, sort=False)
    found = pd.DataFrame(
        {"nets": all_nets, "near_perfect": trained.size(), "defined": trained["rho_in_sample"].count()}
    ).join(trained["k_in_sample"].first().rename("k"))
    return found.reindex(all_nets.index).fillna(0).astype(int).reset_index()


def pooled_near(scales: pd.DataFrame, dataset: str, depth: int, neighbours: Sequence[int]) -> float:
    """Largest pooled coefficient of a data set at a depth over its architectures, each at its best of some k."""
    chosen = scales[(scales["dataset"] == dataset) & (scales["depth"] == depth) & scales["k"].isin(neighbours)]
    return float(chosen.groupby("architecture")["coefficient"].min().max())


def cells_negative(rows: pd.DataFrame, scales: pd.DataFrame, largest_share: float) -> stats.Finding:
    """`all_cells_negative` out of sample, with pooled coefficients of three cells and the share in sample.

    Takes the rows of `ensemble_cell` and the table of `scales` of directed graphs.
    """
    values = {
        "A_depth_5_k_50": pooled_near(scales, "A", 5, [50]),
        "B_depth_5_k_6_to_10": pooled_near(scales, "B", 5, range(6, 11)),
        "F_depth_11_k_250_to_350": pooled_near(scales, "sandal-boot", 11, range(250, 351)),
        "negative_in_sample": float((scales.loc[scales["best"], "coefficient"] < 0).mean()),
    }
    return stats.Finding(all_cells_negative(held_out_scales(rows, "directed", largest_share)), values)


def trained_negative(tables: Mapping[str, pd.DataFrame]) -> stats.Finding:
    """Share of trained nets with a negative coefficient at the held-out k; takes net tables by convention."""
    share, in_sample, union = (
        share_negative(tables[convention], TRAINED, column)
        for convention, column in (("directed", "rho"), ("directed", "rho_in_sample"), ("union", "rho"))
    )
    values = {"judged_nets": share.n, "analysed_nets": in_sample.n, "in_sample": in_sample.value, "union": union.value}
    return stats.Finding(share, values)


def above_untrained(table: pd.DataFrame) -> stats.Finding:
    """Share negative, trained − untrained, with the share untrained, the AUC and the paired difference."""
    paired = share_difference(table, TRAINED, UNTRAINED, "rho", paired=True)
    values = {
        "auc": separation(table, TRAINED, UNTRAINED),
        "untrained": share_negative(table, UNTRAINED).value,
        "paired": paired.value,
        "pairs": paired.n,
    }
    return stats.Finding(share_difference(table, TRAINED, UNTRAINED, "rho"), values)


def above_shuffled_labels(table: pd.DataFrame) -> stats.Finding:
    """Share negative, trained − nets with shuffled labels, with the shares with shuffled and with few true labels."""
    present = {SHUFFLED: "shuffled", FEW: "few_labels"}
    counted = table.dropna(subset=["rho"]).groupby("condition").size()
    values = {
        name: share_negative(table, condition).value for condition, name in present.items() if condition in counted
    }
    return stats.Finding(share_difference(table, TRAINED, SHUFFLED, "rho"), values)


def link_within_cells(linked: Mapping[str, pd.DataFrame]) -> stats.Finding:
    """`accuracy_link` of directed graphs, with that of union graphs; takes `linked_nets` by convention."""
    return stats.Finding(accuracy_link(linked["directed"]), {"union": accuracy_link(linked["union"]).value})


def additive_link(nets: pd.DataFrame, seed: int) -> stats.Finding:
    """`additive_permutation`; withheld where the paper's own test would hardly find its effect. Takes `linked_nets`."""
    found, count = additive_permutation(nets, seed), len(nets)
    values = {"t": found.t, "null_mean": found.null_mean, "nets": count}
    too_few = f"{count} nets, power {power_of_paper(count):.0%}" if count < ENOUGH_NETS else ""
    return stats.Finding(replace(found.share, n=count), values, too_few)

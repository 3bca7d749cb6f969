"""How far the change of the average geometry follows G S G: rows of `papers.gih.evolution` to numbers and tables.

Every cosine is one of sums over draws, Σ⟨A, C⟩ / √(Σ⟨A₁, A₂⟩ Σ⟨C₁, C₂⟩), each product one of independent parts of the
networks. It has no bias from their finite number, and may exceed 1 by its noise.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.papers.gih.evolution import BASELINES, CANDIDATES, GSG, IDENTITY, G, S
from repro.papers.gih.study import DENSE, RESIDUAL
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

KINDS = (DENSE, RESIDUAL)
NAMES = {"linear": "linear", "gelu": "GELU", "relu": "ReLU"}  # activation functions, as the claims name them


def agreement(rows: pd.DataFrame, kind: str, nonlinearity: str) -> stats.Finding:
    """Cosine of −Δ with G S G at the largest width.

    Beside it the cosines with S, G and I, and Δ's share (squared norm) in the space of the 16 top eigenvectors of G.
    """
    part = widest(rows, kind, nonlinearity)
    products = [by_draw(part, column) for column in ("projection", "evolution_energy", "candidate_energy")]
    found = stats.estimate(opposite_cosine, *products)
    inside, energy = (by_draw(part, column)[:, 0].sum() for column in ("inside", "evolution_energy"))
    each = dict(zip(CANDIDATES, np.atleast_1d(found.value), strict=True))
    values = {"with_s": each[S], "with_g": each[G], "with_identity": each[IDENTITY], "inside": inside / energy}
    return _finding(stats.estimate(opposite_cosine, *(product[:, 0] for product in products)), values)


def margin(rows: pd.DataFrame, kind: str, nonlinearity: str) -> stats.Finding:
    """Cosine of −Δ with G S G less the largest of those with S, G, G² and I, at the largest width."""
    part = widest(rows, kind, nonlinearity)
    products = (by_draw(part, column) for column in ("projection", "evolution_energy", "candidate_energy"))
    return _finding(stats.smallest(leads, *products))


def sign(rows: pd.DataFrame, kind: str, nonlinearity: str) -> stats.Finding:
    """Cosine of Δ with G S G at the largest width."""
    return _finding(agreement(rows, kind, nonlinearity).estimate.map(np.negative))


def label_effect(rows: pd.DataFrame, kind: str) -> stats.Finding:
    """What random targets add to Δ along Δ, over its squared norm, at the largest width."""
    part = rows[(rows["kind"] == kind) & (rows["candidate"] == GSG)].dropna(subset="label_change")
    part = part[part["width"] == part["width"].max()].sort_values("draw")
    columns = (part[column].to_numpy(float) for column in ("label_change", "evolution_energy"))
    return _finding(stats.estimate(_ratio, *columns))


def lead(rows: pd.DataFrame, labels: str, over: str, kind: str = RESIDUAL) -> stats.Finding:
    """Cosine of Gₜ with G S G less that with a baseline (S or G₀), mean over the looks after the start.

    Beside it the training accuracy at the end.
    """
    part = rows[(rows["labels"] == labels) & (rows["kind"] == kind)]
    products = [by_step(part, name) for name in (GSG, over)]
    last = part[part["step"] == part["step"].max()]

    def difference(*columns: Array) -> Array:
        return np.asarray((cosine(*columns[:3]) - cosine(*columns[3:]))[..., 1:].mean(axis=-1))

    return _finding(stats.estimate(difference, *products[0], *products[1]), {"accuracy": last["accuracy"].mean()})


def start(rows: pd.DataFrame) -> pd.DataFrame:
    """Cosines of −Δ: kind, nonlinearity, width, candidate, mean, lower, upper, draws."""
    tables = []
    for (kind, nonlinearity, width), part in rows.groupby(["kind", "nonlinearity", "width"], sort=False):
        products = (by_draw(part, column) for column in ("projection", "evolution_energy", "candidate_energy"))
        found = stats.estimate(opposite_cosine, *products)
        names = {"kind": kind, "nonlinearity": NAMES[str(nonlinearity)], "width": width}
        tables.append(found.frame("draws", **names, candidate=CANDIDATES))
    return pd.concat(tables, ignore_index=True)


def during(rows: pd.DataFrame) -> pd.DataFrame:
    """Cosines of Gₜ: kind, labels, baseline, step, mean, lower, upper, draws."""
    tables = []
    for (kind, labels), part in rows.groupby(["kind", "labels"], sort=False):
        for name in BASELINES:
            found = stats.estimate(cosine, *by_step(part, name))
            axes = {"kind": kind, "labels": labels, "baseline": name, "step": np.sort(part["step"].unique())}
            tables.append(found.frame("draws", **axes))
    return pd.concat(tables, ignore_index=True)


def controls(rows: pd.DataFrame) -> pd.DataFrame:
    """Sign and labels at the largest width: quantity (sign, labels), kind, nonlinearity, mean, lower, upper, draws.

    The effect of the labels is listed where it was measured.
    """
    tables = []
    for kind in KINDS:
        mine = rows[rows["kind"] == kind]
        for nonlinearity in mine["nonlinearity"].unique():
            names = {"kind": kind, "nonlinearity": NAMES[str(nonlinearity)]}
            part = mine[mine["nonlinearity"] == nonlinearity]
            found = sign(part, kind, str(nonlinearity)).estimate
            tables.append(found.frame("draws", quantity=["sign"], **names))
            if part["label_change"].notna().any():
                tables.append(label_effect(part, kind).estimate.frame("draws", quantity=["labels"], **names))
    return pd.concat(tables, ignore_index=True)


def widest(rows: pd.DataFrame, kind: str, nonlinearity: str) -> pd.DataFrame:
    """Rows of one sort of networks at its largest width."""
    part = rows[(rows["kind"] == kind) & (rows["nonlinearity"] == nonlinearity)]
    found: pd.DataFrame = part[part["width"] == part["width"].max()]
    return found


def by_draw(part: pd.DataFrame, column: str) -> Array:
    """A column (draws, candidates)."""
    return part.pivot(index="draw", columns="candidate", values=column)[list(CANDIDATES)].to_numpy(float)


def by_step(part: pd.DataFrame, baseline: str) -> list[Array]:
    """Projections, energies of Gₜ and of the baseline, (draws, looks) each."""
    mine = part[part["baseline"] == baseline]
    columns = ("projection", "geometry_energy", "baseline_energy")
    return [mine.pivot(index="draw", columns="step", values=column).to_numpy(float) for column in columns]


def cosine(projection: Array, energy: Array, other: Array) -> Array:
    """Noise-corrected cosine, from products summed over the first axis; NaN where an energy is not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(projection.sum(axis=0) / np.sqrt(energy.sum(axis=0) * other.sum(axis=0)))


def opposite_cosine(projection: Array, energy: Array, other: Array) -> Array:
    """Cosine of −Δ."""
    return -cosine(projection, energy, other)


def leads(projection: Array, energy: Array, other: Array) -> Array:
    """Cosine of −Δ with the first candidate less those with each other."""
    found = opposite_cosine(projection, energy, other)
    return np.asarray(found[..., :1] - found[..., 1:])


def _ratio(numerator: Array, denominator: Array) -> Array:
    return np.asarray(numerator.sum(axis=0) / denominator.sum(axis=0))


def _finding(estimate: stats.Estimate, values: dict[str, float] | None = None) -> stats.Finding:
    """Withheld where noise exceeds the signal, so that there is no cosine."""
    noisy = "" if np.isfinite(estimate.value) else "the noise of the networks exceeds the signal"
    return stats.Finding(estimate, values or {}, noisy)

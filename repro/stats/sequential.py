"""Looks declared in advance: intervals that hold the truth at all looks at once, so that sampling may stop at any.

A design declares its numbers of units and how it spends its error of 5 % over them. At each look the interval is the
estimate ± c_k standard errors, and the c_k are such that a normal mean leaves any of its intervals in 5 % of cases.

Sources: K. K. G. Lan and D. L. DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983);
P. Armitage, C. K. McPherson and B. C. Rowe, Repeated significance tests on accumulating data, JRSS A 132 (1969), for
the recursion; C. Jennison and B. W. Turnbull, Interim analyses: the repeated confidence interval approach, JRSS B 51
(1989).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from repro.stats.estimate import CONFIDENCE, Estimate

ERROR = 1 - CONFIDENCE  # two-sided, over all looks together
_NODES = 128  # of the Gauss–Legendre rule; boundaries have settled to ten digits

Array = npt.NDArray[np.float64]
Spending = Callable[[float], float]


def linear(share: float) -> float:
    """Error spent when a share of the units is drawn: in proportion to it."""
    return ERROR * share


def obrien_fleming(share: float) -> float:
    """Error spent as Lan and DeMets do to come near O'Brien and Fleming's boundaries: 4 − 4 Φ(z_{α/4} / √share)."""
    return float(4 * special.ndtr(special.ndtri(ERROR / 4) / np.sqrt(share)))


def boundaries(looks: Sequence[int], spending: Spending = linear) -> Array:
    """Two-sided boundaries of the z statistic at each look: (looks,).

    The standardised sum of units is a Brownian motion B at times units / last look. The recursion carries its density
    over those paths that have crossed no boundary yet, by Gauss–Legendre quadrature between the last two boundaries.

    Args:
        looks: numbers of units, increasing, each at least 2.
        spending: error spent by each share of the last look's units, increasing to the whole error at 1.

    Raises:
        ValueError: for looks that do not increase or are below 2, or a spending function that does not increase to 5 %.

    Example:
        >>> boundaries([16, 32, 64, 128]).round(3).tolist()
        [2.734, 2.663, 2.422, 2.146]
        >>> boundaries([1000, 2000, 3000, 4000], obrien_fleming).round(3).tolist()
        [4.333, 2.963, 2.359, 2.014]
    """
    sizes = np.asarray(looks)
    if sizes.ndim != 1 or not sizes.size or sizes[0] < 2 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"expected looks that increase from at least 2 units, got {list(looks)}")
    times = sizes / sizes[-1]
    spent = np.diff([0.0, *map(spending, times)])
    if (spent <= 0).any() or not np.isclose(spent.sum(), ERROR):
        raise ValueError(f"expected spending that increases to {ERROR:.2f}, got {np.cumsum(spent).tolist()}")
    steps = np.sqrt(np.diff([0.0, *times]))
    node, weight = np.zeros(1), np.ones(1)  # B(0) = 0
    found: list[float] = []
    unit_node, unit_weight = np.polynomial.legendre.leggauss(_NODES)
    for step, error in zip(steps, spent, strict=True):
        edge = _edge(node, weight, step, error)
        found.append(edge)
        inside = edge * unit_node
        density = np.exp(-(((inside[:, None] - node) / step) ** 2) / 2) @ weight / (step * np.sqrt(2 * np.pi))
        node, weight = inside, edge * unit_weight * density
    return np.asarray(found / np.sqrt(times))


def _edge(node: Array, weight: Array, step: float, error: float) -> float:
    """Where to put ±edge so that the next step from the weighted nodes leads beyond with this probability."""

    def excess(edge: float) -> float:
        beyond = special.ndtr((node - edge) / step) + special.ndtr((-node - edge) / step)
        return float(beyond @ weight - error)

    return float(optimize.brentq(excess, 0.0, np.abs(node).max() + 40 * step, xtol=1e-12))


def critical_values(looks: Sequence[int], spending: Spending = linear) -> Array:
    """Boundaries in terms of Student t with units − 1 degrees of freedom, at the same tail probabilities: (looks,).

    Takes and raises what `boundaries` does.

    Example:
        >>> critical_values([16, 32, 64, 128]).round(2).tolist()
        [3.18, 2.85, 2.49, 2.17]
    """
    return np.asarray(-special.stdtrit(np.asarray(looks) - 1, special.ndtr(-boundaries(looks, spending))))


def repeated_interval(estimate: Estimate, looks: Sequence[int], spending: Spending = linear) -> Estimate:
    """The estimate at one of the declared looks, with the interval that holds at all of them together.

    The interval is c_k jackknife standard errors to each side, on the scale where the estimate's own was formed.

    Args:
        estimate: whose interval was made by the jackknife; its units tell the look.
        looks: see `boundaries`.
        spending: see `boundaries`.

    Raises:
        ValueError: as `boundaries`, for a number of units that is not among the looks, or for an estimate without a
            jackknife standard error.

    Example:
        >>> from repro.stats.estimate import mean
        >>> found = repeated_interval(mean([1.0, 2.0, 3.0, 4.0]), looks=[4, 8])
        >>> found.value, found.method
        (2.5, 'repeated jackknife t, look 1 of 2')
    """
    critical = critical_values(looks, spending)
    if estimate.n not in looks:
        raise ValueError(f"expected one of the declared looks {list(looks)}, got {estimate.n} units")
    look = list(looks).index(estimate.n)
    method = f"repeated {estimate.method}, look {look + 1} of {len(looks)}"
    return estimate.with_critical_value(float(critical[look]), method)

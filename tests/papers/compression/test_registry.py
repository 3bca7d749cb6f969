"""The values that claims of the paper are judged by are those of the theory functions that the figures draw."""

import re

import pytest

from repro.papers.compression.amplification_analysis import SATURATION
from repro.papers.compression.exponents_analysis import feature_exponent, lazy_exponent
from repro.workflow import claims
from repro.workflow.project import Project


def lazy(dimension, informative=1):
    return lazy_exponent(dimension)  # whatever the label depends on


# Of the numbers in the name of a part: the dimension, and the informative directions where there are several.
THEORY = {
    "compression.beta_feature": feature_exponent,
    "compression.beta_lazy": lazy,
    "compression.beta_difference": lambda dimension: feature_exponent(dimension) - lazy_exponent(dimension),
    "compression.cylinder_feature": feature_exponent,
    "compression.cylinder_lazy": lazy,
    "compression.amplification_lazy": lambda: 1.0,  # of an isotropic layer
    "compression.amplification_prefactor": lambda dimension: round(SATURATION, 4),  # as the released code has it
}
PARTS = [
    (identity, part.name, part.criterion.value)
    for identity, claim in claims.load(Project.find()).items()
    for part in claim.part
    if identity.startswith("compression.") and part.criterion.value is not None
]


@pytest.mark.parametrize(("claim", "part", "value"), PARTS)
def test_the_value_is_that_of_the_theory(claim, part, value):
    assert value == pytest.approx(THEORY[claim](*map(int, re.findall(r"\d+", part))), rel=1e-12)


def test_every_theory_is_that_of_a_claim():
    assert {claim for claim, _, _ in PARTS} == THEORY.keys()

import math

import numpy as np
import pytest
import torch

from repro.geometry.compression import amplification

WEIGHT = torch.tensor([[3.0, 1.0, 0.0], [3.0, 0.0, 1.0]])  # ⟨w²⟩ₙ = (9, 1/2, 1/2)


def test_hand_computed():
    assert amplification(WEIGHT) == pytest.approx(math.sqrt(18))
    assert amplification(WEIGHT, definition="B") == pytest.approx(3)
    assert amplification(WEIGHT, definition="C") == pytest.approx(3 / ((3 + 2 * math.sqrt(0.5)) / 3))


def test_a_and_b_differ_by_the_root_of_the_uninformative_dimensions():
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 7)))
    assert amplification(weight) == pytest.approx(math.sqrt(6) * amplification(weight, definition="B"))


@pytest.mark.parametrize("definition", ["A", "C"])
def test_isotropic_layer_has_amplification_one(definition):
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((100_000, 5)))
    assert amplification(weight, 2, definition) == pytest.approx(1, abs=0.02)  # 5 standard errors


@pytest.mark.parametrize("definition", ["A", "B", "C"])
def test_invariances(definition):
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 5)))
    expected = amplification(weight, definition=definition)
    shuffled = weight[torch.randperm(50)][:, [0, 3, 1, 4, 2]]
    for same in (1e6 * weight, shuffled, weight.numpy()):
        assert amplification(same, definition=definition) == pytest.approx(expected, rel=1e-12)  # rounding


def test_rotation_of_the_uninformative_directions_changes_nothing_in_a_and_b():
    generator = np.random.default_rng(0)
    weight = torch.from_numpy(generator.standard_normal((50, 5)))
    rotation = torch.linalg.qr(torch.from_numpy(generator.standard_normal((4, 4)))).Q
    turned = torch.cat([weight[:, :1], weight[:, 1:] @ rotation], 1)
    for definition in ("A", "B"):
        assert amplification(turned, definition=definition) == pytest.approx(
            amplification(weight, definition=definition), rel=1e-12
        )


def test_complete_compression_is_infinite():
    assert amplification(torch.tensor([[1.0, 0.0]])) == math.inf


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (WEIGHT[0], {}, r"shape \(h, d\)"),
        (WEIGHT[:0], {}, r"shape \(h, d\)"),
        (WEIGHT * math.nan, {}, "non-finite"),
        (WEIGHT, {"informative": 0}, "from 1 to d - 1 = 2, got 0"),
        (WEIGHT, {"informative": 3}, "got 3"),
        (WEIGHT, {"definition": "D"}, "got 'D'"),
        (WEIGHT * 0, {}, "undefined"),
    ],
)
def test_bad_arguments_are_named(weight, options, message):
    with pytest.raises(ValueError, match=message):
        amplification(weight, **options)

import math

import numpy as np
import pytest
import torch

from repro.geometry.kernel_pca import coordinate_information
from repro.geometry.ntk import eigenvector_information, label_alignment, label_projection

RNG = np.random.default_rng(0)
Y = np.repeat([1.0, -1.0], 50)


def test_alignment_of_hand_cases():
    assert label_alignment(np.outer(Y, Y), Y) == pytest.approx(1)
    assert label_alignment(np.eye(100), Y) == pytest.approx(1 / 10)  # y·y/(√p p)
    assert label_alignment(np.ones((100, 100)), Y) == pytest.approx(0, abs=1e-12)  # orthogonal to balanced labels


def test_alignment_is_blind_to_scale_and_order():
    factor = RNG.standard_normal((100, 5))
    gram, order = factor @ factor.T, RNG.permutation(100)
    expected = label_alignment(gram, Y)
    assert label_alignment(7 * gram, Y) == pytest.approx(expected)
    assert label_alignment(torch.from_numpy(gram[np.ix_(order, order)]), torch.from_numpy(Y[order])) == pytest.approx(
        expected
    )


def test_projection_on_the_labels_own_kernel():
    found = label_projection(np.outer(Y, Y) + 1e-3 * np.eye(100), Y)
    assert float(found.share[0]) == pytest.approx(1)
    assert float(found.eigenvalues[0]) == pytest.approx(100.001)
    assert float(found.share.sum()) == pytest.approx(1)


def test_information_of_the_labels_own_eigenvector_is_one_bit():
    noise = np.diag(1e-6 * RNG.random(100))  # breaks the ties of the other eigenvectors
    information = eigenvector_information(np.outer(Y, Y) + noise, Y, count=3)
    assert information.shape == (3,) and information[0] == pytest.approx(1, abs=1e-3)


def test_information_of_separated_and_of_identical_clusters():
    separated = Y + 1e-3 * RNG.standard_normal(100)
    assert coordinate_information(separated, Y) == pytest.approx(1, abs=0.05)
    assert coordinate_information(np.zeros(100), Y) == 0  # every distance is 0: no information


def test_information_by_hand():
    # k = 1 counts the point itself: its own class is at distance 0, so each point is certain
    assert coordinate_information(np.array([0.0, 1.0]), np.array([1.0, -1.0]), neighbours=1) == 1
    # k = 2 on 0 | 1 1 | 2, labels + − − +: see the distances to the second nearest of each class
    x, y = np.array([0.0, 1.0, 1.0, 3.0]), np.array([1.0, -1.0, -1.0, 1.0])
    chances = [1 / (1 + 3 / 1), 1.0 * 0 + 1 / (1 + 2 / 1e-300), 1 / (1 + 2 / 1e-300), 1 / (1 + 3 / 2)]
    entropy = [0 if c in (0, 1) or c < 1e-200 else -c * math.log2(c) - (1 - c) * math.log2(1 - c) for c in chances]
    assert coordinate_information(x, y, neighbours=2) == pytest.approx(1 - np.mean(entropy))


def test_permuted_labels_leave_the_floor_of_the_estimator():
    x = RNG.standard_normal(400)
    y = np.where(x > np.median(x), 1.0, -1.0)
    permuted = np.mean([coordinate_information(x, RNG.permutation(y)) for _ in range(20)])
    assert 0.05 < permuted < 0.15  # about 0.09 bits for k = 5, whatever the sample
    assert 0.65 < coordinate_information(x, y) < 0.85  # not 1 for a perfect threshold: far points see both classes far


@pytest.mark.parametrize(
    ("gram", "labels", "message"),
    [
        (np.eye(4)[:3], Y[:4], "expected gram"),
        (np.eye(4), Y[:3], "expected gram"),
        (np.eye(4) * np.nan, Y[:4], "gram holds non-finite"),
        (np.eye(4), np.zeros(4), "labels are zero"),
        (np.triu(np.ones((4, 4))), Y[:4], "symmetric"),
        (np.zeros((4, 4)), Y[:4], "undefined"),
    ],
)
def test_bad_arguments_are_named(gram, labels, message):
    with pytest.raises(ValueError, match=message):
        label_alignment(gram, labels)


def test_bad_options_of_the_information_are_named():
    with pytest.raises(ValueError, match=r"count must be a whole number from 1 to p = 100, got 101"):
        eigenvector_information(np.eye(100), Y, count=101)
    with pytest.raises(ValueError, match=r"neighbours must be a whole number from 1 to the smaller class = 50, got 51"):
        eigenvector_information(np.eye(100), Y, neighbours=51)
    with pytest.raises(ValueError, match=r"labels must be \+1 and -1"):
        eigenvector_information(np.eye(100), np.arange(100) + 1.0)


def information_without_ties(gram, labels, count, neighbours=5):
    """The estimator without any word on rounding, by a full sort of the distances."""
    vectors = np.linalg.eigh(gram)[1][:, ::-1][:, :count].T
    found = []
    for vector in vectors:
        distances = np.abs(vector[:, None] - vector)
        plus, minus = (np.sort(distances[:, labels == sign], axis=1)[:, neighbours - 1] for sign in (1.0, -1.0))
        chance = minus / (plus + minus)
        found.append(1 + np.mean(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance)))
    return np.array(found)


@pytest.mark.parametrize("seed", range(5))
def test_information_of_a_generic_kernel_is_that_of_the_estimator_without_ties(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 4))
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    gram = np.exp(-((x[:, None] - x) ** 2).sum(2) / 8)
    assert np.allclose(eigenvector_information(gram, y), information_without_ties(gram, y, 10), rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [20, 100, 501])
def test_rounding_is_no_information(p):
    y = np.where(np.arange(p) < p // 2, 1.0, -1.0)  # sorted, as is the rounding of a solver
    assert (eigenvector_information(np.ones((p, p)), y) == 0).all()
    assert (eigenvector_information(3.7e9 * np.ones((p, p)), y) == 0).all()
    # the same two kinds of example in both classes, each alike to rounding: two eigenvectors, both blind to the label
    kinds = np.where(np.arange(p) % 2, 1.0, 2.0)
    scale = 1 + 1e-16 * np.arange(p)
    information = eigenvector_information(np.outer(kinds, kinds) * np.outer(scale, scale) + 1, y)
    assert (information == 0).all()


def test_an_eigenvector_of_a_zero_eigenvalue_carries_nothing():
    x = RNG.standard_normal((100, 2))
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    information = eigenvector_information(x @ x.T, y, count=6)  # rank 2
    assert (information[:2] > 0.01).all() and (information[2:] == 0).all()
    assert eigenvector_information(-np.outer(y, y), y, count=100)[-1] == pytest.approx(1)  # negative is not zero

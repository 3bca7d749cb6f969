import numpy as np
import pytest
import torch

from repro.data.synthetic import stripe
from repro.geometry.ntk import relu_ntk
from repro.training.svm import hard_margin_svm, soft_margin_svm


def stripe_problem(points=200, dimension=4):
    inputs, labels = stripe(points, dimension, np.random.default_rng(0))
    return labels.numpy(), relu_ntk(inputs).numpy()


def test_hand_solvable_case():
    # on the line, classes at −1 and at 2, 5: the plane is at 1/2, the slope 2/3
    x = np.array([[-1.0], [2.0], [5.0]])
    machine = hard_margin_svm(x @ x.T, np.array([-1.0, 1.0, 1.0]))
    assert machine.support.tolist() == [0, 1]
    new = np.array([[0.5], [-1.0], [2.0], [8.0]])
    decision = machine.decision(new @ x[machine.support].T)
    assert np.allclose(decision, 2 / 3 * (new[:, 0] - 0.5), atol=2e-3)  # the solver's tolerance, twice


def test_optimality_conditions():
    labels, gram = stripe_problem()
    machine = hard_margin_svm(gram, labels, tolerance=1e-6)
    margins = labels * machine.decision(gram[:, machine.support])
    duals = machine.coefficients * labels[machine.support]
    assert (duals > 0).all()
    assert abs(machine.coefficients.sum()) < 1e-8 * duals.sum()  # the offset's condition
    assert margins.min() > 1 - 1e-5  # primal feasibility, ten times the tolerance
    assert np.allclose(margins[machine.support], 1, atol=1e-5)  # complementary slackness
    norm = machine.coefficients @ gram[np.ix_(machine.support, machine.support)] @ machine.coefficients
    assert norm == pytest.approx(duals.sum(), rel=1e-4)  # no duality gap


def test_support_is_increasing_whatever_the_order_of_the_classes():
    labels, gram = stripe_problem()
    expected = hard_margin_svm(gram, labels, tolerance=1e-6)
    for order in (np.arange(len(labels)), np.argsort(labels), np.argsort(-labels)):
        for fit in (hard_margin_svm, lambda *given, **options: soft_margin_svm(*given, penalty=1e12, **options)):
            machine = fit(gram[np.ix_(order, order)], labels[order], tolerance=1e-6)
            assert (np.diff(machine.support) > 0).all()
            # each coefficient is still that of its point
            weights = np.zeros((2, len(labels)))
            weights[0, order[machine.support]], weights[1, expected.support] = (
                machine.coefficients,
                expected.coefficients,
            )
            assert np.allclose(*weights, atol=1e-4 * np.abs(weights).max())  # 100 tolerances


def test_scale_of_the_kernel_does_not_matter_and_offset_absorbs_a_constant():
    labels, gram = stripe_problem()
    expected = hard_margin_svm(gram, labels, tolerance=1e-6)
    reference = expected.decision(gram[:, expected.support])
    for other in (1e-8 * gram, 1e8 * gram, gram + 1.0):
        machine = hard_margin_svm(other, labels, tolerance=1e-6)
        assert np.allclose(machine.decision(other[:, machine.support]), reference, atol=1e-4)  # 100 tolerances


def test_torch_and_numpy_agree():
    labels, gram = stripe_problem(50)
    first = hard_margin_svm(gram, labels)
    second = hard_margin_svm(torch.from_numpy(gram), torch.from_numpy(labels))
    assert np.array_equal(first.coefficients, second.coefficients) and first.offset == second.offset


def test_flipped_labels_flip_the_decision():
    labels, gram = stripe_problem(50)
    first, second = hard_margin_svm(gram, labels), hard_margin_svm(gram, -labels)
    decisions = [machine.decision(gram[:, machine.support]) for machine in (first, second)]
    assert np.allclose(decisions[0], -decisions[1], atol=1e-2)  # the solver's tolerance, ten times


def test_inseparable_classes_are_an_error():
    with pytest.raises(RuntimeError, match="not separable"):
        hard_margin_svm(np.ones((4, 4)), np.array([1.0, -1.0, 1.0, -1.0]))


def test_soft_margin_with_a_large_penalty_is_the_hard_margin():
    labels, gram = stripe_problem()
    hard, soft = hard_margin_svm(gram, labels), soft_margin_svm(gram, labels, penalty=1e12)
    assert np.array_equal(hard.coefficients, soft.coefficients) and hard.offset == soft.offset


def test_soft_margin_lets_classes_overlap_and_bounds_their_weight():
    x = np.array([[-2.0], [-1.0], [1.0], [2.0], [1.5]])
    labels, gram = np.array([-1.0, -1.0, 1.0, 1.0, -1.0]), x @ x.T
    with pytest.raises(RuntimeError, match="not separable"):
        hard_margin_svm(gram, labels)
    machine = soft_margin_svm(gram, labels, penalty=1.0)
    assert (machine.decision(gram[:, machine.support]) * labels > 0).tolist() == [True, True, True, True, False]
    assert np.abs(machine.coefficients).max() <= 1.0 / gram.diagonal().mean() + 1e-12
    with pytest.raises(ValueError, match="penalty must be positive, got 0"):
        soft_margin_svm(gram, labels, penalty=0)


@pytest.mark.parametrize(
    ("gram", "labels", "message"),
    [
        (np.eye(3)[:2], [1.0, -1.0], r"expected gram \(p, p\)"),
        (np.eye(3), [1.0, -1.0], r"expected gram \(p, p\)"),
        (np.full((2, 2), np.nan), [1.0, -1.0], "non-finite"),
        (np.eye(2), [1.0, 1.0], "both present"),
        (np.eye(2), [0.0, 1.0], r"must be \+1 and -1"),
        (-np.eye(2), [1.0, -1.0], "positive mean diagonal"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), [1.0, -1.0], "symmetric"),
    ],
)
def test_bad_arguments_are_named(gram, labels, message):
    with pytest.raises(ValueError, match=message):
        hard_margin_svm(gram, np.array(labels))


def test_bad_tolerance_and_cross_gram_are_named():
    with pytest.raises(ValueError, match="tolerance must be positive"):
        hard_margin_svm(np.eye(2), np.array([1.0, -1.0]), tolerance=0)
    machine = hard_margin_svm(np.eye(2), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"shape \(points, 2\)"):
        machine.decision(np.ones((4, 3)))

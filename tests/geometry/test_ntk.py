import math

import numpy as np
import oracles
import pytest
import torch

from repro.geometry.ntk import relu_ntk, shallow_ntk
from repro.models.dense import initialise


def points(count, dimension, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, dimension)))


def network(width, dimension, seed=1):
    return initialise(width, dimension, np.random.default_rng(seed))


def parameters(net):
    return net.weight, net.bias, net.readout


def test_network_is_the_formula():
    net, x = network(9, 4), points(11, 4)
    assert torch.allclose(net(x), oracles.output(*parameters(net), x), rtol=1e-13, atol=1e-15)  # rounding only


def test_shallow_ntk_is_the_product_of_autograd_jacobians():
    net, x, y = network(20, 3), points(6, 3), points(5, 3, seed=2)

    def jacobian(inputs):
        parts = torch.autograd.functional.jacobian(lambda *p: oracles.output(*p, inputs), parameters(net))
        return torch.cat([part.flatten(1) for part in parts], 1)

    expected = jacobian(x) @ jacobian(y).T
    assert torch.allclose(shallow_ntk(*parameters(net), x, y), expected, rtol=1e-12, atol=1e-15)  # rounding only


def test_shallow_ntk_converges_to_relu_ntk_as_one_over_root_width():
    x = points(12, 5)
    limit = relu_ntk(x)
    widths = [1_000, 16_000]

    def error(width):
        samples = [width * shallow_ntk(*parameters(network(width, 5, seed)), x) - limit for seed in range(8)]
        return float(torch.stack(samples).square().mean().sqrt())

    errors = [error(width) for width in widths]
    slope = math.log(errors[1] / errors[0]) / math.log(widths[1] / widths[0])
    assert slope == pytest.approx(-0.5, abs=0.1)  # central limit theorem; 8 nets leave about 0.05 of noise
    assert errors[1] < 0.05 * float(limit.mean())


def test_relu_ntk_known_values():
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    # u = (1, 1), v = (0, 1): |u| = √2, |v| = 1, angle π/4
    expected = (math.sqrt(2) * math.sin(math.pi / 4) + 2 * (3 * math.pi / 4)) / math.pi
    assert float(relu_ntk(one, zero)) == pytest.approx(expected, rel=1e-14)
    assert float(relu_ntk(one)) == pytest.approx(4, rel=1e-14)  # 2|u|² on the diagonal


def test_relu_ntk_is_symmetric_positive_and_blind_to_rotations():
    x = points(40, 6)
    gram = relu_ntk(x)
    rotation = torch.linalg.qr(points(6, 6, seed=3)).Q
    assert torch.allclose(gram, gram.T, rtol=1e-13)  # rounding
    assert torch.linalg.eigvalsh(gram).min() > 0
    assert torch.allclose(relu_ntk(x @ rotation), gram, rtol=1e-12)  # rounding
    # off the diagonal the angle between close points amplifies rounding by 1/angle
    assert torch.allclose(relu_ntk(x, x.clone()), gram, rtol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_in_type_out(dtype):
    net, x = network(8, 3), points(4, 3)
    tensors = [tensor.to(dtype) for tensor in (*parameters(net), x)]
    arrays = [tensor.numpy() for tensor in tensors]
    for kernel, inputs in ((shallow_ntk, slice(0, 4)), (relu_ntk, slice(3, 4))):
        from_torch, from_numpy = kernel(*tensors[inputs]), kernel(*arrays[inputs])
        assert from_torch.dtype == dtype and isinstance(from_numpy, np.ndarray)
        assert np.array_equal(from_torch.numpy(), from_numpy) and from_numpy.dtype == arrays[3].dtype


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (points(4, 3)[0], None, r"x must have shape"),
        (points(4, 3), points(4, 2), "agree in dimension"),
        (points(4, 3), points(4, 3).float(), "agree in dimension, precision"),
        (points(4, 3) / 0, None, "x holds non-finite"),
        (torch.ones(2, 2, dtype=torch.int64), None, "float32 or float64"),
    ],
)
def test_bad_points_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        relu_ntk(x, y)
    with pytest.raises(ValueError, match=message):
        shallow_ntk(*parameters(network(8, 3)), x, y)


def test_bad_networks_are_named():
    weight, bias, readout = parameters(network(8, 3))
    x = points(4, 3)
    for wrong in ((weight, bias[:-1], readout), (weight[:, :2], bias, readout), (weight, bias, readout[:, None])):
        with pytest.raises(ValueError, match=r"expected weight \(h, 3\)"):
            shallow_ntk(*wrong, x)
    with pytest.raises(ValueError, match="bias holds non-finite"):
        shallow_ntk(weight, bias * math.nan, readout, x)
    with pytest.raises(ValueError, match=r"readout is torch\.float32"):
        shallow_ntk(weight, bias, readout.float(), x)
    with pytest.raises(ValueError, match="gain must be finite"):
        shallow_ntk(weight, bias, readout, x, gain=math.inf)

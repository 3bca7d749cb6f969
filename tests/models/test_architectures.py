"""Plain architectures: shapes, how weights are drawn, and families that draw many networks at once."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.models.architectures import (
    DenseNetwork,
    LeNet,
    UniformFamily,
    VisionTransformer,
    activation_module,
    draw_uniform,
)
from repro.models.residual import ResidualNetwork

SMALL = {"patch": 4, "layers": 2, "heads": 2, "width": 8, "hidden": 16}
BUILDS = {
    "dense": lambda generator: DenseNetwork([256, 7, 5, 3], generator),
    "lenet": lambda generator: LeNet(1, 16, 3, generator),
    "transformer": lambda generator: VisionTransformer(1, 16, 3, generator, **SMALL),
    "residual": lambda generator: ResidualNetwork(1, 3, generator, start="torch"),
    "flat": lambda generator: ResidualNetwork(1, 3, generator, start="torch", flat_side=16),
    "plain": lambda generator: ResidualNetwork(
        1, 3, generator, start="torch", normalised=False, skips=False, padding="circular", nonlinearity="linear"
    ),
}


def images(points=4, side=16):
    return torch.from_numpy(np.random.default_rng(1).standard_normal((points, 1, side, side))).float()


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_one_logit_a_class_and_each_image_on_its_own(build):
    network = build(np.random.default_rng(0)).eval()
    x = images()
    logits = network(x)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(network(x[2:3]), logits[2:3], atol=1e-5, rtol=1e-4)
    assert float(logits.detach().std(0).min()) > 0


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_family_draws_the_same_networks_at_once(build):
    family = UniformFamily(build)
    seeds = [3, 1, 2]
    network, state = family.stacked([np.random.default_rng(seed) for seed in seeds])
    x = images()
    for index, seed in enumerate(seeds):
        alone = family(np.random.default_rng(seed))
        drawn = alone.state_dict()
        for name, _, _ in _uniform(alone):
            assert torch.equal(state[name][index], drawn[name]), name
        if not isinstance(alone, VisionTransformer):
            together = torch.func.functional_call(network, {name: value[index] for name, value in state.items()}, (x,))
            assert torch.equal(alone(x), together)


def _uniform(network):
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield from ((f"{path}.{name}", part, None) for name, part in module.named_parameters(recurse=False))


def test_weights_are_uniform_up_to_one_over_the_root_of_the_fan_in():
    layer = nn.Sequential(nn.Conv2d(4, 300, 3), nn.Linear(25, 300))
    draw_uniform(layer, np.random.default_rng(0))
    for part, bound in ((layer[0].weight, 1 / 6), (layer[0].bias, 1 / 6), (layer[1].weight, 0.2), (layer[1].bias, 0.2)):
        values = part.detach().numpy()
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.98 * bound
        assert abs(values.mean()) < 0.1 * bound


def test_attention_is_that_of_torch():
    network = VisionTransformer(1, 16, 3, np.random.default_rng(0), **SMALL, dtype=torch.float64)
    block = network.blocks[0]
    library = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    library.in_proj_weight.data, library.in_proj_bias.data = block.mixed.weight.data, block.mixed.bias.data
    library.out_proj.load_state_dict(block.out.state_dict())
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 5, 8)))
    normed = block.first(x)
    middle = x + library(normed, normed, normed, need_weights=False)[0]
    torch.testing.assert_close(block(x), middle + block.dense(block.second(middle)))


def test_refusals():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="gelu, relu, linear, got 'tanh'"):
        activation_module("tanh")
    with pytest.raises(ValueError, match="16 pixels or more, got 8"):
        LeNet(1, 8, 2, generator)
    with pytest.raises(ValueError, match="whole patches"):
        VisionTransformer(1, 16, 2, generator, **SMALL | {"patch": 5})
    with pytest.raises(ValueError, match="he or torch, got 'zero'"):
        ResidualNetwork(1, 2, generator, start="zero")

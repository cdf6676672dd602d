"""Settings of convolution nets: what is built, how it begins, how many tasks fit a cache."""

import pytest
import torch

from metarl.core import Execution, share
from metarl.nn import ConvNet, WarpConvNet, conv_settings
from metarl.nn.conv_settings import (
    ConvNetSettings,
    ReducedConvNetSettings,
    WarpLayers,
    WarpReducedSettings,
    stacked,
)


def test_networks_are_built_as_their_settings_say():
    assert ConvNetSettings(8).build(3) == ConvNet(3, 8, reduction="pool", pool_first=True)
    assert ReducedConvNetSettings(8).build(3) == ConvNet(3, 8)
    assert ReducedConvNetSettings(8, "pool").build(3) == ConvNet(3, 8, reduction="pool")
    for settings in (WarpLayers(8), WarpReducedSettings(8)):
        network = settings.build(3)
        assert isinstance(network, WarpConvNet)
        assert network.base == settings.base(3)


@pytest.mark.parametrize("warped", [WarpLayers(4), WarpReducedSettings(4, reduction="pool")])
def test_a_warped_network_begins_as_the_one_without_warp_layers(warped):
    images = torch.rand(1, 6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    outputs = []
    for network in (warped.base(3), warped.build(3)):
        params = network.init(torch.Generator().manual_seed(0))
        outputs.append(network(share(params, 1), images))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"filters": 0}, "0"),
        ({"warp_layers": 0}, "0"),
        ({"warp_filters": -1}, "-1"),
        ({"warp_start": "identity", "warp_activation": "tanh"}, "tanh"),
        ({"warp_start": "identity", "warp_head": True}, "warp_head"),
    ],
)
def test_what_cannot_be_built_is_refused(settings, value):
    with pytest.raises(ValueError, match=value):
        WarpLayers(**settings)


def test_as_many_tasks_are_stacked_as_fit_a_cache():
    cpu, auto, net = torch.device("cpu"), Execution("auto", native="off"), ConvNetSettings(64)
    assert stacked(auto, cpu, 5, net).chunk_size == 8
    assert stacked(auto, cpu, 5, net, shared=True).chunk_size == 16
    assert stacked(auto, cpu, 10_000, net).chunk_size == 1
    assert stacked(auto, torch.device("cuda"), 5, net).chunk_size is None
    assert stacked(Execution(3), cpu, 5, net).chunk_size == 3


def test_kernels_are_handed_more_tasks(monkeypatch):
    cpu, auto, net = torch.device("cpu"), Execution("auto"), ConvNetSettings(64)
    monkeypatch.setattr(conv_settings, "unavailable", lambda name: None)
    assert stacked(auto, cpu, 5, net).chunk_size == 32
    assert stacked(auto, cpu, 5, net, shared=True).chunk_size == 32
    assert stacked(Execution("auto", 2), cpu, 5, net).chunk_size == 8
    assert stacked(auto, cpu, 5, WarpLayers(64)).chunk_size == 32
    assert stacked(auto, cpu, 5, WarpLayers(64, warp_residual=True)).chunk_size == 8
    monkeypatch.setattr(conv_settings, "unavailable", lambda name: "no compiler")
    assert stacked(auto, cpu, 5, net).chunk_size == 8

"""Networks and recurrent cores: each says which of its parameters are fast and which slow."""

from collections.abc import Callable

from metarl.nn.associative import AssociativeMemory
from metarl.nn.conv_net import ConvNet
from metarl.nn.fused import FusedCore
from metarl.nn.gru import GRU
from metarl.nn.hebbian import ModulatedRNN, PlasticRNN
from metarl.nn.linear_attention import LinearAttention
from metarl.nn.lstm import LSTM
from metarl.nn.mlp import MLP
from metarl.nn.module_network import ModuleNetwork
from metarl.nn.network import Network, StagedNetwork
from metarl.nn.recurrent import RecurrentCore, with_sizes
from metarl.nn.rnn import RNN
from metarl.nn.trace import Trace
from metarl.nn.transformer import Transformer
from metarl.nn.view_encoder import ViewEncoder, ViewLayout
from metarl.nn.warp_conv_net import WarpConvNet
from metarl.nn.warp_mlp import WarpMLP
from metarl.nn.warp_rnn import WarpRNN

CORES: dict[str, Callable[[int, int], RecurrentCore]] = {
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "warp": WarpRNN,
    "plastic": PlasticRNN,
    "modulated": ModulatedRNN,
    "associative": AssociativeMemory,
    "transformer": Transformer,
    "linear-attention": LinearAttention,
}
"""Recurrent cores by name, called with the numbers of inputs and of hidden units."""

__all__ = [
    "CORES",
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "AssociativeMemory",
    "ConvNet",
    "FusedCore",
    "LinearAttention",
    "ModulatedRNN",
    "ModuleNetwork",
    "Network",
    "PlasticRNN",
    "RecurrentCore",
    "StagedNetwork",
    "Trace",
    "Transformer",
    "ViewEncoder",
    "ViewLayout",
    "WarpConvNet",
    "WarpMLP",
    "WarpRNN",
    "with_sizes",
]

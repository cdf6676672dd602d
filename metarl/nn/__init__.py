"""Recurrent cores: each says which of its parameters are fast and which are slow."""

from metarl.nn.gru import GRU
from metarl.nn.lstm import LSTM
from metarl.nn.modulated import ModulatedRNN
from metarl.nn.plastic import PlasticRNN
from metarl.nn.recurrent import FusedCore, RecurrentCore
from metarl.nn.rnn import RNN
from metarl.nn.trace import Trace
from metarl.nn.warp_rnn import WarpRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "FusedCore",
    "ModulatedRNN",
    "PlasticRNN",
    "RecurrentCore",
    "Trace",
    "WarpRNN",
]

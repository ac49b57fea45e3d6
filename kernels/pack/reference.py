"""The definition of `pack` and `unpack`: 32 spikes an int32 word, lowest bit first."""

from neurokit.kernels.common.neuron import pack_words, unpack_words

__all__ = ["pack_words", "unpack_words"]

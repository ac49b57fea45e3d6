"""snnTorch's `utils.reset` inside of a forward: it acts on the module that is run, not on those that were built.

The library keeps every neuron that was ever built in one list and resets those of a kind in it. A copy is not in that
list, so that a run of one would leave its own neurons as they are, and change the user's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

#: Of an adopted neuron: the class of the library whose place it takes.
KIND = "_neurokit_kind"
#: Of a module that keeps the state that it returns for its next call: it begins anew with every run.
BEGIN = "_neurokit_begins"
#: The classes that `snntorch.utils.reset` looks for among the children of a module, and resets everywhere.
_RESET = ("Lapicque", "Synaptic", "Leaky", "Alpha", "RLeaky", "RSynaptic", "SConv2dLSTM", "SLSTM")


@contextmanager
def acting_on(module: nn.Module) -> Iterator[None]:
    """Lets the library's own functions see the neurons of one module alone while it is run."""
    library: Any = sys.modules.get("snntorch")
    if library is None:
        yield
        return
    base = library.SpikingNeuron
    before = base.instances
    base.instances = [part for part in module.modules() if isinstance(part, base)]
    try:
        yield
    finally:
        base.instances = before


@contextmanager
def acting_on_adopted(net: nn.Module) -> Iterator[None]:
    """Lets `snntorch.utils.reset` reset what stands for the library's neurons in a module while it is run.

    As the library does, it looks for the kinds among the children of what it is given, and resets all of these kinds.
    """
    if vars(net).get(BEGIN):
        net.begin()  # type: ignore[operator]
    library: Any = sys.modules.get("snntorch")
    utils: Any = sys.modules.get("snntorch.utils")
    if library is None or utils is None:
        yield
        return
    known = [getattr(library, name) for name in _RESET if hasattr(library, name)]
    chosen: list[Any] = []

    def check(net: nn.Module) -> None:
        kinds = [vars(part).get(KIND) for part in net._modules.values()] if KIND not in vars(net) else []
        chosen[:] = [base for base in known if any(kind and issubclass(kind, base) for kind in kinds)]

    def reset() -> None:
        for part in net.modules():
            kind = vars(part).get(KIND)
            if kind and any(issubclass(kind, base) for base in chosen):
                for inner in part.modules():
                    if callable(getattr(inner, "reset", None)):
                        inner.reset()  # type: ignore[operator]

    before = utils._layer_check, utils._layer_reset
    utils._layer_check, utils._layer_reset = check, reset
    try:
        with acting_on(nn.Identity()):  # neurons inside of those that stand for them are left alone
            yield
    finally:
        utils._layer_check, utils._layer_reset = before

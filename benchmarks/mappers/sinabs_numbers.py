"""What sinabs 3.1.3 maps on a Speck 2f: writes tests/data/mapper_dynapcnn.json.

In an environment of its own: `pip install sinabs==3.1.3 nirtorch` (no samna: its driver is stubbed, so that only the
Python code of the mapper runs), then `python benchmarks/mappers/sinabs_numbers.py` from the project's root.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

from networks import DYNAPCNN

OUT = Path(__file__).parents[2] / "tests" / "data" / "mapper_dynapcnn.json"


class _Anything(type):
    """A class whose every attribute is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (object,), {"__init__": lambda self, *args, **options: None})


class _NoDriver(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty samna, the driver of the boards, which needs a licence and hardware."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] in ("samna", "samnagui"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__version__ = "0.48.6"
        module.__getattr__ = lambda name: _Anything.__getattr__(_Anything, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: Any) -> None:
        """Nothing is in it."""


sys.meta_path.insert(0, _NoDriver())


def network(layers: list[tuple[Any, ...]]) -> Any:
    """Returns sinabs' own form of a network."""
    import sinabs.layers as sl
    from torch import nn

    out: list[Any] = []
    for kind, *args in layers:
        if kind == "c":
            bias = len(args) > 5 and args[5]
            out += [nn.Conv2d(*args[:5], bias=bias), sl.IAFSqueeze(batch_size=1)]
        elif kind == "p":
            out.append(sl.SumPool2d(args[0]))
        else:
            flat = [] if any(isinstance(module, nn.Flatten) for module in out) else [nn.Flatten()]
            out += [*flat, nn.Linear(*args, bias=False), sl.IAFSqueeze(batch_size=1)]
    return nn.Sequential(*out)


def main() -> None:
    from sinabs.backend.dynapcnn import DynapcnnNetwork
    from sinabs.backend.dynapcnn.chips.speck2f import Speck2FConfigBuilder
    from sinabs.backend.dynapcnn.mapping import get_valid_mapping

    rows = {}
    for name, (shape, layers) in DYNAPCNN.items():
        mapped = DynapcnnNetwork(network(layers), input_shape=shape, discretize=True, dvs_input=False)
        cores = mapped.dynapcnn_layers
        memory = [{key: int(words) for key, words in layer.memory_summary().items()} for layer in cores.values()]
        try:
            get_valid_mapping(cores, Speck2FConfigBuilder.get_constraints())
            fits = True
        except ValueError:
            fits = False
        rows[name] = {"cores": len(cores), "fits": fits, "memory": memory}
        print(name, rows[name])
    OUT.write_text(json.dumps({"tool": "sinabs 3.1.3, speck2f, samna stubbed", "networks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What sinabs 3.1.3 maps on a Speck 2f: writes tests/data/mapper_dynapcnn.json.

In an environment of its own: `pip install sinabs==3.1.3 nirtorch` (no samna: its driver is stubbed, so that only the
Python code of the mapper runs), then `python benchmarks/mappers/sinabs_numbers.py` from the project's root.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from networks import DYNAPCNN
from no_driver import without_samna

OUT = Path(__file__).parents[2] / "tests" / "data" / "mapper_dynapcnn.json"


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
    without_samna()
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

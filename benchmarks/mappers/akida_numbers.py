"""What akida 2.19.3 maps on a virtual AKD1000: writes tests/data/mapper_akida.json.

In an environment of its own: `pip install akida==2.19.3`, then `python benchmarks/mappers/akida_numbers.py` from the
project's root. The vendor's default mode spreads a layer over more nodes than it needs, as many as are free; its mode
`Minimal` gives the fewest, which is what a mapper can be held to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import akida
from networks import AKIDA

OUT = Path(__file__).parents[2] / "tests" / "data" / "mapper_akida.json"


def network(shape: tuple[int, int, int], layers: list[tuple[Any, ...]]) -> Any:
    """Returns akida's own form of a network of spikes: inputs and activations of one bit, weights of four."""
    channels, height, width = shape
    model = akida.Model()
    model.add(akida.InputData((height, width, channels), input_bits=1, name="input"))
    for number, (kind, *args) in enumerate(layers):
        if kind == "c":
            _, filters, kernel, stride, _ = args
            options = {"weights_bits": 4, "kernel_stride": (stride, stride), "padding": akida.Padding.Same}
            model.add(akida.Convolutional((kernel, kernel), filters, name=f"layer{number}", **options))
        else:
            model.add(akida.FullyConnected(args[1], weights_bits=4, name=f"layer{number}"))
    return model


def main() -> None:
    rows = {}
    for name, (shape, layers) in AKIDA.items():
        model = network(shape, layers)
        try:
            model.map(akida.AKD1000(), hw_only=True, mode=akida.MapMode.Minimal)
            nodes = [len(layer.mapping.nps) for layer in model.layers if layer.mapping is not None]
            rows[name] = {"nodes": nodes, "fits": sum(len(s.passes) for s in model.sequences) == 1}
        except (ValueError, RuntimeError) as error:
            rows[name] = {"nodes": None, "fits": False, "reason": " ".join(str(error).split())}
        print(name, rows[name])
    OUT.write_text(
        json.dumps({"tool": "akida 2.19.3, virtual AKD1000, mode Minimal", "networks": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()

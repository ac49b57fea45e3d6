"""What rockpool 3.1.0's mapper says of a Xylo Audio 2: writes tests/data/mapper_xylo.json.

In an environment of its own: `pip install rockpool==3.1.0 bitstruct torch` (no samna: the driver of the boards is
stubbed, so that only the Python code of the mapper and its design rules runs), then
`python benchmarks/mappers/rockpool_numbers.py` from the project's root.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from networks import XYLO
from no_driver import without_samna

OUT = Path(__file__).parents[2] / "tests" / "data" / "mapper_xylo.json"


def network(sizes: list[int], recurrent: bool) -> Any:
    """Returns rockpool's own form of a stack of dense layers of LIF neurons; the first layer may be recurrent."""
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFTorch, LinearTorch

    layers: list[Any] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layers.append(LinearTorch((inputs, outputs), has_bias=False))
        layers.append(LIFTorch(outputs, tau_mem=0.02, tau_syn=0.02, dt=0.01, has_rec=recurrent and number == 0))
    return Sequential(*layers)


def main() -> None:
    without_samna()
    from rockpool.devices.xylo.syns61201.xylo_mapper import DRCError, mapper

    rows = {}
    for name, (sizes, recurrent) in XYLO.items():
        try:
            found = mapper(network(sizes, recurrent).as_graph())
            hidden, outputs = found["weights_out"].shape
            rows[name] = {"fits": True, "hidden": int(hidden), "outputs": int(outputs)}
        except DRCError as error:
            rows[name] = {"fits": False, "reason": " ".join(str(error).split())}
        print(name, rows[name])
    tool = "rockpool 3.1.0, syns61201 mapper, samna stubbed"
    OUT.write_text(json.dumps({"tool": tool, "networks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

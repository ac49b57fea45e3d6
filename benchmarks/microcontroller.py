"""Flash, RAM and counted instructions of exact networks as C on emulated boards: results/microcontroller.md."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import torch

import neurokit as nk
from neurokit.provenance import collect

OUT = Path(__file__).parent / "results" / "microcontroller.md"
MODELS = ("spiking_cnn", "puppets_mobilenet_v2_035")
_HEAD = """\
# The exact form as C on Cortex-M
Made by `python benchmarks/microcontroller.py`. Flash and RAM: linked at -O2 for a Cortex-M4, the network alone.
Instructions of one step (a network without neurons: of one inference) are counted by QEMU at one nanosecond an
instruction and read from the board's SysTick; they are no cycles. Weights are those the model comes with; they change
the figures through the width of values alone.

| model | parameters | T | verdict | flash | RAM | Cortex-M4 | Cortex-M55 |
|---|---|---|---|---|---|---|---|
"""


def row(name: str, folder: Path) -> str:
    """Lowers a model and returns its line."""
    spec = nk.load(name)
    made = nk.exact(nk.capture(spec))
    artifact = nk.lower(made, "c", folder / name)
    manifest = artifact.manifest
    board, notes = manifest.target_info["microcontroller"] or {}, manifest.parity["notes"]
    counted = {
        cpu: next((m[1] for n in notes if n.startswith(cpu) and (m := re.search(r"([\d,]+) instr", n))), "-")
        for cpu in ("cortex-m4", "cortex-m55")
    }
    cells = [f"`{name}`", f"{manifest.model.parameters:,}", str(manifest.time_steps or "-"), manifest.parity["verdict"]]
    cells += [f"{board.get(key, 0):,} B" for key in ("flash_bytes", "ram_bytes")] + list(counted.values())
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Runs every model and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as made:
        rows = [row(name, Path(made)) for name in parser.parse_args().models]
    said = collect()
    OUT.write_text(
        f"{_HEAD}{''.join(rows)}\nneurokit {said['versions']['neurokit']}, {said['time']}.\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()

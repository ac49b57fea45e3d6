"""`neurokit demo`: the whole pipeline on a small model and real input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, progress, stdout_is_for_json


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for what the demo makes.")] = Path("build/demo"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train two small networks, on digits and on hand-shadow puppets, deploy, verify and run them, in three minutes."""
    with stdout_is_for_json(as_json):
        from neurokit import demo as pipeline_demo

        result = pipeline_demo.run(out, progress=progress)
    if as_json:
        print_json(result)
    else:
        from neurokit import render

        render.show(*render.demo(result))
        print_next(
            f"neurokit verify {out}/onnx {out}/onnx-scan {out}/onnx-step",
            f"neurokit explain puppets_mobilenet_v2_035 --weights {out}/puppets/training/weights.safetensors "
            f"--data {out}/puppets/heldout.npz --html {out}/puppets/why.html",
            "neurokit models",
            "neurokit export sew_resnet18 --target onnx-step --out build/sew",
        )

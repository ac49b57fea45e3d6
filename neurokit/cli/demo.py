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
        weights, data = out / "puppets" / "training" / "weights.safetensors", out / "puppets" / "heldout.npz"
        why: list[str | Path] = ["explain", "puppets_mobilenet_v2_035", "--weights", weights, "--data", data]
        print_next(
            ["verify", out / "onnx", out / "onnx-scan", out / "onnx-step"],
            [*why, "--html", out / "puppets" / "why.html"],
            ["models"],
            ["export", "sew_resnet18", "--target", "onnx-step", "--out", "build/sew"],
        )

"""`neurokit demo`: the whole road on a small model and real input."""

from __future__ import annotations

from neurokit.cli._common import Debug, Json, print_json, print_next, stdout_is_for_json


def demo(as_json: Json = False, debug: Debug = False) -> None:
    """Train a small spiking network on real digits, deploy it, verify it and run it, in a minute or two."""
    with stdout_is_for_json(as_json):
        from neurokit import demo as road

        result = road.run()
    if as_json:
        print_json(result)
    else:
        print_next("neurokit models", "neurokit export MODEL --target onnx --out DIR")

"""The edge zoo on one page: small twins, some of them taught a task, with metric, size, latency and joules of each.

    python benchmarks/edge_zoo_page.py build/edge-zoo [--steps 60] [NAME...]

Every twin is exported to `onnx` and verified, timed for a second, and its multiply-adds priced on edge devices; the
page is that of `neurokit report`. Segmenters learn ellipses first, so that their Dice means something.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SEGMENTERS = (
    "ear_unet",
    "macmd_b0",
    "dsa_decoder",
    "para_trans_cnn_32",
    "trans_dae",
    "dae_former",
    "att_swin_unet",
)
OTHERS = ("ecapa_tdnn_512", "emotionic", "acdit_b", "oat")


def taught(name: str, steps: int) -> tuple[Any, Any]:
    """Returns a twin, and labelled data of what it was taught, or None."""
    import torch

    from neurokit.data.labelled import Labelled
    from neurokit.spec import MODELS
    from tests.neurokit.models import edge_tasks

    spec = MODELS.get(name)().in_small()
    if name not in SEGMENTERS or not steps:
        return spec, None
    torch.manual_seed(0)
    module, (channels, side, _) = spec.build(), spec.inputs[0].numbers
    edge_tasks.find_ellipses(module, channels, side, steps, 2e-3)
    x, mask = edge_tasks.ellipses(32, 7, channels, side)
    return replace(spec, build=lambda: module), Labelled(x.numpy(), mask.numpy(), "ellipses")


def rows(name: str, steps: int, folder: Path) -> list[Path]:
    """Exports, times and prices a twin; returns the folder and files of it."""
    import neurokit as nk
    from neurokit import provenance
    from neurokit.bench.run import BenchRun

    spec, data = taught(name, steps)
    captured = nk.capture(spec)
    target = "onnx-step" if any(part.spec.states for part in captured.graphs) else "onnx"
    artifact = nk.lower(captured, target, folder / spec.name, **({"data": data} if data is not None else {}))
    places = [artifact.path]
    for kind, make in (
        ("bench", lambda: BenchRun((nk.benchmark(artifact, seconds=1.0),), provenance=provenance.collect())),
        ("energy", lambda: nk.simulate(captured)),
    ):
        try:
            made = make().to_json()
        except nk.errors.NeurokitError as error:  # said in the log: not every twin has one call to time or to count
            print(f"{spec.name}: no {kind}: {error}")
            continue
        places.append(folder / f"{spec.name}-{kind}.json")
        places[-1].write_text(json.dumps(made), encoding="utf-8")
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=(*SEGMENTERS, *OTHERS))
    parser.add_argument("--steps", type=int, default=60, help="of training of each segmenter")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from neurokit.page.build import build

    arguments.folder.mkdir(parents=True, exist_ok=True)
    places = [place for name in arguments.names for place in rows(name, arguments.steps, arguments.folder)]
    content = build(places, arguments.folder / "zoo.html")
    print(f"{arguments.folder / 'zoo.html'}: {len(content.rows)} rows, {len(content.failures)} failures")


if __name__ == "__main__":
    main()

"""OAT: which objects of a shelf somebody looks at, one after the other, when searching for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from neurokit.dims import Dim
from neurokit.spec import GraphSpec, ModelSpec, StateSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    from torch import nn

    from neurokit.models.oat.net import Shelf

SOURCE = "Fang et al., OAT, ECCV 2024; own code from the published structure, parameters named as released"
ENCODER, STEP = "encoder", "step"


@register_model
def oat() -> ModelSpec:
    """A shelf of 2 x 11 objects: 18,269,179 parameters; an encoder and a step with a cache."""
    return _spec("oat", {})


def oat_small() -> ModelSpec:
    """One layer 64 wide, 2 x 3 objects of 34 x 34 pixels."""
    sizes = {"rows": 2, "columns": 3, "image": (34, 34), "width": 64, "heads": 2, "inner": 64, "layers": 1}
    return _spec("oat_small", sizes)


def _spec(name: str, sizes: dict[str, Any]) -> ModelSpec:
    def shelf() -> Shelf:
        from neurokit.models.oat.net import Shelf

        return Shelf(**sizes)

    def build() -> nn.Module:
        import torch

        from neurokit.models.oat.net import OAT

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return OAT(shelf()).eval()

    rows, columns = sizes.get("rows", 2), sizes.get("columns", 11)
    width, heads, layers = sizes.get("width", 512), sizes.get("heads", 4), sizes.get("layers", 4)
    objects, image, longest = rows * columns, sizes.get("image", (150, 93)), 64
    memory = TensorSpec("memory", (objects + 1, width), layout="LF", low=-4, high=4, meaning="objects and the target")
    fixations = TensorSpec(
        "fixations", (objects + 3, width), layout="LF", low=-4, high=4, meaning="what may be looked at"
    )
    past, new = Dim("P", min=0, max=longest), Dim("S", max=longest)
    cache = (layers * heads, past, width // heads)
    graphs = (
        GraphSpec(
            ENCODER,
            (
                TensorSpec("images", (objects, *image, 3), layout="NHWC", meaning="the objects, row by row, 0 to 1"),
                TensorSpec("target", (), "int64", layout="", high=objects - 1, meaning="which object is searched for"),
            ),
            (memory, fixations),
            method="encode",
        ),
        GraphSpec(
            STEP,
            (
                TensorSpec("token", (new,), "int64", "L", high=objects + 2, meaning="fixations; first the beginning"),
                *(_from_encoder(port) for port in (memory, fixations)),
            ),
            (
                TensorSpec(
                    "scores", (new, objects + 2), layout="LF", meaning="of objects, the end, and what is padding"
                ),
            ),
            tuple(StateSpec(part, cache, layout="HLF", grows={"P": "P+S"}) for part in ("keys", "values")),
            method="step",
            example=_example(objects, width),
        ),
    )
    settings = {
        "places": [[float(column), float(row)] for row in range(rows) for column in range(columns)],
        "size": [float(columns), float(rows)],
        "grid": [columns, rows],
        "search": {
            "encoder": ENCODER,
            "step": STEP,
            "token": "token",
            "scores": "scores",
            "begin": objects + 2,
            "end": objects,
            "longest": 32,
        },
    }
    return ModelSpec(
        name,
        build,
        description="a scanpath over the objects of a shelf, searched on the host",
        source=SOURCE,
        task=TaskSpec("scanpaths", settings),
        graphs=graphs,
        small=oat_small,
    )


def _from_encoder(port: TensorSpec) -> TensorSpec:
    from dataclasses import replace

    return replace(port, source=f"{ENCODER}.{port.name}")


def _example(objects: int, width: int) -> Callable[..., Mapping[str, Any]]:
    """Returns what draws the inputs of a call."""

    def example(batch: int, time_steps: int, seed: int, sizes: Mapping[str, int] | None = None) -> Any:
        import torch

        drawn = torch.Generator().manual_seed(seed)
        count = (sizes or {}).get("S", 3)
        token = torch.randint(objects, (batch, count), generator=drawn)
        if (sizes or {}).get("P", 0) == 0:
            token[:, 0] = objects + 2
        parts = {"memory": objects + 1, "fixations": objects + 3}
        return {"token": token, **{k: torch.randn(batch, n, width, generator=drawn) for k, n in parts.items()}}

    return example

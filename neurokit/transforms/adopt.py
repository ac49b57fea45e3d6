"""The transform `adopt`: neurons of snnTorch, norse and SpikingJelly before 2.0 become SpikingJelly's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import nn


@register_transform
class Adopt:
    """Replaces neurons of other libraries by ones of the same equations that every target knows.

    A capture does the same by itself. As a transform it gives a module that trains on and converts like any other;
    before it does, the network is captured and held against the original, run by its own library.
    """

    info = TransformInfo(
        name="adopt",
        summary="neurons of snnTorch, norse and older SpikingJelly replaced by SpikingJelly's of the same equations",
        source="Eshraghian et al., snnTorch, Proc. IEEE 2023; Pehle and Pedersen, norse, 2021",
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns every neuron that has no equal, or why the network with the new ones would be another."""
        from neurokit.capture import capture
        from neurokit.capture.cells import Cell

        try:
            module, _ = _adopted(spec.build())
            cells = [
                Unsupported(
                    path,
                    type(part.cell).__name__,
                    "no neuron of SpikingJelly has its equations",
                    "leave the transform away",
                )
                for path, part in module.named_modules()
                if isinstance(part, Cell)
            ]
            if not cells:
                capture(spec, compare=True)
        except UnsupportedError as error:
            reasons = [reason for reason in error.reasons if isinstance(reason, Unsupported)]
            return reasons or [Unsupported("", spec.name, error.what, error.fix or "leave the transform away")]
        return cells

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification that builds the module with SpikingJelly's neurons."""
        build = spec.build

        def adopted() -> nn.Module:
            return _adopted(build())[0]

        _, notes = _adopted(build())
        return Transformed(replace(spec, build=adopted), tuple(notes) or ("no neuron of another library was in it",))


def _adopted(module: nn.Module) -> tuple[nn.Module, list[str]]:
    from neurokit.capture.twin import private_copy

    return private_copy(module)

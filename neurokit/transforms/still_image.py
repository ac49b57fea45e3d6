"""The transform `still_image`: a model of sequences is given one image, which it sees at every time step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import nn


@register_transform
class StillImage:
    """Repeats each input over time inside the model, `[B, ...]` in place of `[T, B, ...]`.

    Static images are what spiking classifiers of ImageNet are run on. A target that knows that all steps are one
    computes what stands before the first neurons once (`aoti` does).
    """

    info = TransformInfo(
        name="still_image", summary="one image [B, ...] in the place of a sequence [T, B, ...], seen at every time step"
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model takes no sequence that an image could stand for."""
        whole = not spec.graphs and not spec.states and spec.arguments is None and spec.method == "forward"
        if whole and spec.time_steps is not None and spec.time_input == "sequence":
            return []
        why = "it takes no sequence [T, B, ...] of a known T, or has graphs, states or arguments of its own"
        return [Unsupported("", spec.name, why, "leave --transform still_image away")]

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification with its inputs repeated inside."""
        build, steps = spec.build, int(spec.time_steps or 1)

        def built() -> nn.Module:
            return _repeating(build(), steps)

        small = spec.small
        made = replace(
            spec,
            build=built,
            time_input="image",
            example=_first(spec),
            small=None if small is None else (lambda: self.apply(small(), settings).spec),
            merge_reparameterised=None if spec.merge_reparameterised is None else _inside(spec.merge_reparameterised),
        )
        return Transformed(made, (f"one image is seen at {steps} time steps",))


def _repeating(net: nn.Module, steps: int) -> nn.Module:
    import torch

    class StillImageNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *images: Any) -> Any:
            return self.net(*(image.unsqueeze(0).expand(steps, *image.shape) for image in images))

    return StillImageNet().train(net.training)


def _inside(merge: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module], nn.Module]:
    def merged(module: nn.Module) -> nn.Module:
        module.net = merge(module.net)  # type: ignore[arg-type]
        return module

    return merged


def _first(spec: ModelSpec) -> Callable[..., Any] | None:
    """Returns the specification's own example at the first step; None where it has none."""
    own = spec.example
    if own is None:
        return None

    def example(batch: int, time_steps: int, seed: int) -> Any:
        made, rank = own(batch, time_steps, seed), {port.name: len(port.shape) + 2 for port in spec.inputs}
        if isinstance(made, Mapping):
            return {name: value[0] if value.dim() == rank[name] else value for name, value in made.items()}
        return made[0] if made.dim() == rank[spec.inputs[0].name] else made

    return example

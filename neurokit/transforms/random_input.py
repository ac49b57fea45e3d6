"""The transform `random_input`: every random draw of a model's forward becomes an input of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import nn


@register_transform
class RandomInput:
    """Makes the draws of Poisson encoders, dropout that is left on and stochastic neurons inputs of the model.

    What torch.rand, bernoulli, a dropout mask and their relatives are made of, a uniform or a normal number, is handed
    in under a name, `[T, B, ...]` where a step draws. The module's code runs as it is. So the model gives one answer to
    one input, and every form of it can be held against the module itself with the same draws.
    """

    info = TransformInfo(
        name="random_input",
        summary="random draws of the forward (Poisson encoders, dropout left on, stochastic neurons) become inputs",
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns every draw that cannot be an input, or why the model's cannot be looked for."""
        whole = not spec.graphs and not spec.states and spec.arguments is None and spec.method == "forward"
        if not whole:
            why = "it has several graphs, declared states or arguments of its own"
            return [Unsupported("", spec.name, why, "give its draws as inputs in its code")]
        from neurokit.capture.draw_ports import plan_of

        found = plan_of(spec)
        return found if isinstance(found, list) else []

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification with the draws behind its own inputs."""
        from neurokit.capture.draw_ports import Plan, plan_of, with_draws

        plan = plan_of(spec)
        assert isinstance(plan, Plan)  # `check` was asked
        build = spec.build

        def built() -> nn.Module:
            return with_draws(build(), plan)

        inputs = (*spec.inputs, *plan.ports)
        made = replace(spec, build=built, inputs=inputs, example=_example(spec, plan.ports), small=None)
        return Transformed(made, tuple(f"{port.name}: {port.meaning}" for port in plan.ports))


def _example(spec: ModelSpec, drawn: Sequence[TensorSpec]) -> Callable[..., Mapping[str, Any]] | None:
    """Returns the specification's own example with draws beside it; None where it has none."""
    own = spec.example
    if own is None:
        return None

    def example(batch: int, time_steps: int, seed: int) -> Mapping[str, Any]:
        import torch

        from neurokit.capture.drawing import uniform

        made = own(batch, time_steps, seed)
        named = dict(made) if isinstance(made, Mapping) else {spec.inputs[0].name: made}
        generator = torch.Generator().manual_seed(seed)
        timed = spec.time_steps is not None and spec.time_input != "image"
        lead = (time_steps, batch) if timed else (batch,)
        if timed:  # a static image is repeated
            named = {
                port.name: named[port.name]
                if named[port.name].dim() == len(port.shape) + 2
                else named[port.name].unsqueeze(0).expand(time_steps, *named[port.name].shape)
                for port in spec.inputs
            }
        return {**named, **{port.name: uniform(port, (*lead, *port.numbers), generator) for port in drawn}}

    return example

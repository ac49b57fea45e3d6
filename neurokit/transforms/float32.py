"""The transform `float32`: a model in half, double or mixed precision computes in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from neurokit.errors import Unsupported
from neurokit.spec import GraphSpec, ModelSpec, TensorSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import nn

_OTHERS = ("float64", "float16", "bfloat16")
_Port = TypeVar("_Port", bound=TensorSpec)


@register_transform
class Float32:
    """Lets a model compute in float32, for targets and numerics that hold nothing else; autocast in it is left out.

    Weights in float16 and bfloat16 are the same numbers there, and sums are no longer rounded to their few bits, so
    that the answers are nearer to what the weights mean than the module's own. Weights in float64 are rounded.
    """

    info = TransformInfo(
        name="float32",
        summary="a model in bfloat16, float16, float64 or several of them computes in float32, with the same weights",
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why there is nothing to change."""
        from neurokit.capture.contexts import names_autocast
        from neurokit.capture.one_type import other_floats

        ports = (port for graph in spec.graphs or (spec.as_graph(),) for port in (*graph.inputs, *graph.states))
        module = spec.build()
        if any(port.dtype in _OTHERS for port in ports) or other_floats(module) or names_autocast(module):
            return []
        return [Unsupported("", spec.name, "it computes in float32 already", "leave the transform away")]

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification that builds the module in float32."""
        from neurokit.capture.one_type import in_single, other_floats

        build, kinds = spec.build, ", ".join(sorted(other_floats(spec.build())))

        def single() -> nn.Module:
            return in_single(build())

        made = replace(spec, build=single, small=None)
        if spec.graphs:
            made = replace(made, graphs=tuple(_graph(graph) for graph in spec.graphs))
        else:
            one = _graph(spec.as_graph())
            made = replace(made, inputs=one.inputs, states=one.states, example=one.example)
        return Transformed(made, (f"weights in {kinds} became float32",) if kinds else ())


def _graph(graph: GraphSpec) -> GraphSpec:
    return replace(
        graph,
        inputs=tuple(_port(port) for port in graph.inputs),
        states=tuple(_port(state) for state in graph.states),
        outputs=tuple(port if isinstance(port, str) else _port(port) for port in graph.outputs),
        example=None if graph.example is None else _example(graph.example),
    )


def _port(port: _Port) -> _Port:
    return replace(port, dtype="float32") if port.dtype in _OTHERS else port


def _example(own: Callable[..., Any]) -> Callable[..., Any]:
    from functools import wraps

    @wraps(own)  # whoever asks for examples looks how many parameters there are
    def example(*args: Any, **kwargs: Any) -> Any:
        made = own(*args, **kwargs)
        if isinstance(made, Mapping):
            return {name: value.float() if value.is_floating_point() else value for name, value in made.items()}
        return made.float() if made.is_floating_point() else made

    return example

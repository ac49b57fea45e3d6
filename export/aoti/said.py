"""What a package's manifest says of its calls of neurons, held to its form before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from neurokit.errors import damaged
from neurokit.plain import first_fault

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

_Precision = Literal["float32", "float16", "bfloat16"]
_MOST = 1_000  # states of a kind of neuron, and elements of its example


class _Said(BaseModel):
    # JSON gives lists and numbers as they are, so that nothing is converted.
    model_config = ConfigDict(strict=True)


class Built(_Said):
    """What a package was compiled for; see `place.here`."""

    device: Literal["cpu", "cuda"]
    torch: str
    platform: str
    machine: str
    cpu_extensions: list[str]
    gpu: str | None = None
    capability: str | None = None
    cuda: str | None = None


class Opened(_Said):
    """What a package is opened by."""

    built_for: Built
    precision: _Precision


class Call(_Said):
    """One call of a layer of neurons.

    Attributes:
        layer: Module path of its neuron, with "@" and a number where it is called several times.
        kind: Which of the kinds that run alone it is.
        rare: Whether its states keep the shape of one step.
        states: How many it has.
        shape: Sizes of its spikes, or linear expressions of free axes.
        dtype: Their type.
    """

    layer: str
    kind: int = Field(ge=0)
    rare: bool
    states: int = Field(ge=0, le=_MOST)
    shape: list[int | str] = Field(min_length=1)
    dtype: str


class Probed(_Said):
    """What a probing twin is called by.

    Attributes:
        calls: Every call of neurons, in the order of the program.
        kinds: Of every kind of neurons, how many inputs it has: the current and its states.
        examples: Their shapes and types.
        precision: What weights and currents are in.
        roundings: How often terms are rounded to 16 bits, by "layers" and "outputs", by name.
        kernels: Which kernel every layer went into.
    """

    calls: list[Call]
    kinds: list[int] = Field(default_factory=list)
    examples: list[list[Annotated[tuple[list[int], str], Strict(False)]]] = Field(default_factory=list)
    precision: _Precision = "float32"
    roundings: dict[Literal["layers", "outputs"], dict[str, int]] = Field(default_factory=dict)
    kernels: list[dict[str, Any]] = Field(default_factory=list)

    def fault(self, paths: set[str]) -> str:
        """Returns what does not fit together, or "".

        Args:
            paths: Module paths of the manifest's neurons.
        """
        if self.kinds != [len(example) for example in self.examples] or not all(0 < n <= _MOST for n in self.kinds):
            return f"its kinds of neurons take {self.kinds} inputs, their examples are of others"
        if any(_too_large(shape) for kind in self.examples for shape, _ in kind):
            return "an example of its neurons is larger than any example is"
        for call in self.calls:
            if call.layer.partition("@")[0] not in paths:
                return f"it calls a layer {call.layer!r}, which is none of its neurons"
            if call.kind >= len(self.kinds) or call.states != self.kinds[call.kind] - 1:
                return f"layer {call.layer!r} is of a kind of neurons that it does not have"
        return ""


def _too_large(shape: list[int]) -> bool:
    count = 1
    for size in shape:
        count *= size
    return count > 2**24 or any(size < 0 for size in shape)


def check_built(artifact: Artifact) -> dict[str, Any]:
    """Returns what a package was compiled for.

    Raises:
        ArtifactError: If the manifest does not say it and its precision, or in another form.
    """
    info = artifact.manifest.target_info
    said = _valid(Opened, info, artifact, "target_info")
    if artifact.manifest.numerics == "exact" and said.precision != "float32":
        raise damaged(artifact.path, f"its manifest says exact numerics and a precision of {said.precision}")
    built: dict[str, Any] = info["built_for"]
    return built


def check_probed(artifact: Artifact) -> None:
    """Refuses what a manifest says of calls of neurons where it does not fit together.

    Raises:
        ArtifactError: Names the first thing that does not fit.
    """
    manifest = artifact.manifest
    said = _valid(Probed, manifest.target_info, artifact, "target_info")
    fault = said.fault({neuron.path for neuron in manifest.neurons})
    if fault:
        raise damaged(artifact.path, fault)


def _valid(kind: type[Any], data: Any, artifact: Artifact, where: str) -> Any:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        place, said = first_fault(error)
        place = f"{where}.{place}" if place else where
        raise damaged(artifact.path, f"its manifest is invalid at {place}: {said}") from error

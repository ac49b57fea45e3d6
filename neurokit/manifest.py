"""What manifest.json of an artifact says, validated where it is read and where it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from neurokit.dims import as_size
from neurokit.errors import ArtifactError, InputError, damaged
from neurokit.manifest_versions import upgraded, with_graphs
from neurokit.over_time import KINDS, is_known
from neurokit.plain import first_fault, parse_json

SCHEMA_VERSION = 2
FORMAT: Final = "neurokit artifact"
MANIFEST = "manifest.json"
_MOST_STEPS = 2**24  # every one is computed


class _Part(BaseModel):
    """A part of the manifest: frozen, and without room for fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class ModelInfo(_Part):
    """Which model was lowered.

    Attributes:
        name: Name of the `ModelSpec`.
        source: Paper or project of the architecture, or the name of the user's file.
        parameters: Number of trained parameters of the source module.
        options: Options its factory was called with.
        weights_sha256: Sum of the weights file that was loaded, or None for freshly initialised weights.
    """

    name: str
    source: str = ""
    parameters: int = Field(default=0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str | None = None


def _checked_sizes(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    for size in shape:
        as_size(size)  # an InputError is a ValueError, which pydantic tells
    return shape


class DimInfo(_Part):
    """The bounds of one free axis; see `neurokit.dims.Dim`."""

    min: int = Field(default=1, ge=0)
    max: int | None = None
    multiple: int = Field(default=1, ge=1)


class TensorInfo(_Part):
    """One input or output of the lowered model.

    Attributes:
        name: Name in the lowered file.
        shape: Sizes, or names of free sizes such as "T" and "B".
        dtype: Numpy name of the element type.
        layout: One letter an axis, for example "TBCHW".
        time_axis: Index of the time axis, or None.
        meaning: One line: what the numbers are, with unit and range.
        low: Smallest value that an input takes.
        high: Largest value that an input takes.
        source: "GRAPH.OUTPUT" of the same artifact that is passed on to this input, or "".
        distribution: Of a random draw: "uniform" in [0, 1) or "normal" (0, 1), drawn from a seeded stream where a
            runner is not given it; else "".
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    layout: str = ""
    time_axis: int | None = None
    meaning: str = ""
    low: float | None = None
    high: float | None = None
    source: str = ""
    distribution: Literal["", "uniform", "normal"] = ""

    _sizes = field_validator("shape")(_checked_sizes)


class StateInfo(_Part):
    """One state of a streaming form: an input, and the output that feeds it at the next step.

    Attributes:
        name: Name of the state.
        input: Name of the graph's input that takes it.
        output: Name of the graph's output that gives its next value.
        shape: Sizes, or names of free sizes such as "B".
        next_shape: Sizes after a call, of a state that grows; () where they stay.
        dtype: Numpy name of the element type.
        init: Initial value of every element, or the name of a .npy file of the artifact that holds it.
        unit: Unit of the state; "threshold units" where the model has none.
        neuron: Module path of the neuron it belongs to.
    """

    name: str
    input: str
    output: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    init: float | str = 0.0
    unit: str = ""
    neuron: str = ""
    next_shape: tuple[int | str, ...] = ()

    _sizes = field_validator("shape", "next_shape")(_checked_sizes)


class GraphInfo(_Part):
    """One function of the lowered model.

    Attributes:
        name: Its name; "model" where there is only one.
        file: The file that holds it, where the target keeps a file a graph.
        inputs: Inputs, without states.
        outputs: Outputs, without states.
        states: States of a streaming form.
        dims: Bounds of every free axis, by its name.
    """

    name: str = "model"
    file: str = ""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...] = Field(min_length=1)
    states: tuple[StateInfo, ...] = ()
    dims: dict[str, DimInfo] = Field(default_factory=dict)


class NeuronInfo(_Part):
    """One spiking layer: where it is in the source module and what it computes."""

    path: str
    kind: str
    op: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Reparameterisation(_Part):
    """What was done with re-parameterised branches, and why."""

    state: Literal["merged", "kept", "none"] = "none"
    reason: str = ""


class TaskInfo(_Part):
    """The kind of work that the model does: `neurokit.spec.TaskSpec`."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)


class TransformInfo(_Part):
    """A transform that the model has been through before capture: `neurokit.spec.AppliedTransform`."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class PreprocessInfo(_Part):
    """One step of a declared preprocessing: `neurokit.spec.PreprocessStep`."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)


class FileInfo(_Part):
    """Sum and size of one file."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(_Part):
    """What manifest.json says; validated where the file is read and where it is written.

    Attributes:
        format: Marks the folder as ours.
        schema_version: Version of this schema.
        model: Which model was lowered.
        target: Name of the target.
        runtime: "onnxruntime" where ONNX Runtime alone runs it; else "".
        form: Form within the target: "sequence", "scan", "step", "engine" and the like.
        time_steps: Number of steps T; None for a model without neurons; "dynamic" if T is free.
        numerics: "float", "exact", or a name of the target's own such as "int8".
        graphs: Every graph with its ports and states. One graph may also be given by `inputs`, `outputs`, `states`.
        reset_policy: One line: when states go back to their initial values.
        neurons: Every spiking layer.
        reparameterisation: What was done with re-parameterised branches.
        task: The kind of work it does, or None.
        transforms: What the model has been through before capture, in order.
        preprocess: What is done to an image or a recording before the model takes it, in order.
        opset: ONNX opset, where there is one.
        versions: Version of neurokit and of every library that took part.
        options: Options of the lowering.
        files: Sum and size of every file, by its path relative to the folder with "/" between parts.
        parity: `ParityReport.to_json()` of the last verification, or None before the first.
        fidelity: `Fidelity.to_json()`: how the captured program compares with the user's own module, or None.
        target_info: Whatever else the target has to say.
        digest: sha256 of the canonical JSON of everything above.
    """

    format: Literal["neurokit artifact"] = FORMAT
    schema_version: int = SCHEMA_VERSION
    model: ModelInfo
    target: str
    runtime: str = ""
    form: str
    time_steps: int | Literal["dynamic"] | None = None
    numerics: str = "float"
    graphs: tuple[GraphInfo, ...] = Field(min_length=1)
    reset_policy: str = ""
    neurons: tuple[NeuronInfo, ...] = ()
    reparameterisation: Reparameterisation = Reparameterisation()
    task: TaskInfo | None = None
    transforms: tuple[TransformInfo, ...] = ()
    preprocess: tuple[PreprocessInfo, ...] = ()
    opset: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, FileInfo] = Field(default_factory=dict)
    parity: dict[str, Any] | None = None
    fidelity: dict[str, Any] | None = None
    target_info: dict[str, Any] = Field(default_factory=dict)
    digest: str = ""

    @model_validator(mode="before")
    @classmethod
    def _one_graph(cls, data: Any) -> Any:
        return with_graphs(data) if isinstance(data, dict) else data

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs of the first graph."""
        return self.graphs[0].inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs of the first graph."""
        return self.graphs[0].outputs

    @property
    def states(self) -> tuple[StateInfo, ...]:
        """States of the first graph."""
        return self.graphs[0].states

    @field_validator("time_steps")
    @classmethod
    def _positive(cls, steps: int | str | None) -> int | str | None:
        if isinstance(steps, int) and not 1 <= steps <= _MOST_STEPS:
            raise ValueError(f"time_steps is {str(steps)[:30]}; expected a whole number from 1 to {_MOST_STEPS:,}")
        return steps

    @field_validator("target_info")
    @classmethod
    def _over_time(cls, info: dict[str, Any]) -> dict[str, Any]:
        given, gives = info.get("time_input", "sequence"), info.get("time_output", "auto")
        if given not in ("sequence", "image", "step"):
            raise ValueError(f"time_input is {given!r}; expected sequence, image or step")
        if not isinstance(gives, str) or not (gives == "" or is_known(gives)):
            raise ValueError(f"time_output is {gives!r}; expected {', '.join(KINDS)}, or one of them an output")
        return info

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileInfo]) -> dict[str, FileInfo]:
        for name in files:
            if not _is_inside(name):
                raise ValueError(f"file name {name!r} leads out of the folder or is reserved")
        return files

    def to_text(self) -> str:
        """Returns the JSON text of manifest.json, with a fresh digest.

        Raises:
            InputError: If a free field holds something that JSON has no room for, such as NaN.
        """
        try:
            data = self.model_dump(mode="json")
            data["digest"] = _digest(data)
            return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except ValueError as error:  # pydantic's serialisation error is one, too
            raise InputError(
                f"the manifest cannot be written as JSON: {error}", expected="plain, finite values"
            ) from error

    @classmethod
    def from_text(cls, text: str, where: Path) -> Manifest:
        """Reads and checks the text of a manifest.json.

        Args:
            text: The file's text.
            where: The folder, for messages.

        Raises:
            ArtifactError: If it is no JSON, of another schema, incomplete, or was changed after it was written.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise damaged(where, f"{MANIFEST} is no valid JSON ({error})") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise damaged(where, f"{MANIFEST} was not written by neurokit")
        if data.get("schema_version") not in (1, SCHEMA_VERSION):
            raise ArtifactError(
                f"{where} has manifest schema {data.get('schema_version')!r}",
                expected=f"schema 1 or {SCHEMA_VERSION}",
                fix="export the model again with this version of neurokit",
            )
        if data.get("digest") != _digest(data):
            raise damaged(where, f"{MANIFEST} was changed after it was written (digest mismatch)")
        try:
            return cls.model_validate(upgraded(data))
        except ValidationError as error:
            place, said = first_fault(error)
            raise damaged(where, f"{MANIFEST} is invalid at {place or 'the top'}: {said}") from error


def _digest(data: Mapping[str, Any]) -> str:
    """Returns the sha256 of the canonical JSON of `data` without its digest."""
    body = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_inside(name: str) -> bool:
    """Returns whether `name` is a plain relative path to a file below the folder, in its one normal spelling."""
    path = PurePosixPath(name)
    plain = name not in ("", ".", MANIFEST) and path.as_posix() == name and "\\" not in name and ":" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and "\0" not in name

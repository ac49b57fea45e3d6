"""What targets read of a manifest's target_info, held to its form before an artifact is opened or verified."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, ValidationInfo, field_validator

from neurokit.errors import ArtifactError
from neurokit.plain import first_fault

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

_Count = Annotated[int, Field(ge=0)]
_Error = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_MISSING = "there is none"  # of a field that others make necessary
_MOST_ROWS = 2**20  # neurons that a file runs alone in one call


class _Said(BaseModel):
    # JSON gives lists and numbers as they are, so that nothing is converted.
    model_config = ConfigDict(strict=True)


class _CLayer(_Said):
    path: str
    neurons: _Count
    shape: list[_Count]
    membrane: Literal["int32_t", "int64_t", "float"]
    exponent: Annotated[int, Field(ge=-1074, le=1023)]
    start: float | list[Any]


class _C(_Said):
    name: Annotated[str, Field(pattern=r"^\w+$")]
    proven_steps: int | None
    layers: list[_CLayer]


class _Network(_Said):
    precision: Literal["fp32", "fp16", "int8"]


class _Engine(_Network):
    engine_form: Literal["sequence", "step", "scan"]
    library: str
    library_version: str
    compute_capabilities: list[Any]


class _Device(_Said):
    device: str


class _Allowed(_Said):
    max_error: _Error


class _Quantised(_Allowed, _Device):
    pass


class _AgainstFloat(_Said):
    output_relative_l2: _Error


class _Int8Opened(_Said):
    quantisation: _Device


class _Int8(_Said):
    quantisation: _Quantised
    against_float: _AgainstFloat


class _OpenVino(_Said):
    openvino: dict[str, str]


class _OpenVinoInt8(_OpenVino):
    quantisation: _Allowed
    against_float: _AgainstFloat


class _Nir(_Said):
    """Layers name their part, which is 0 of a whole model, and its node; `covered` is which neuron each of them is."""

    dt: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    parts: list[str] = Field(default_factory=list)
    inputs: dict[str, str] = Field(default_factory=dict)
    layers: list[Annotated[tuple[_Count, str], Strict(False)]]
    covered: list[_Count] | None = Field(default=None, validate_default=True)

    @field_validator("layers")
    @classmethod
    def _of_a_part(cls, layers: list[tuple[int, str]], info: ValidationInfo) -> list[tuple[int, str]]:
        count = len(info.data.get("parts", ())) or 1
        for part, name in layers:
            if part >= count:
                raise ValueError(f"layer {name!r} is of part {part}, and there are {count}")
        return layers

    @field_validator("covered")
    @classmethod
    def _one_a_layer(cls, covered: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if not info.data.get("parts"):
            return covered
        if covered is None:
            raise ValueError(_MISSING)
        layers = info.data.get("layers", covered)
        if len(covered) != len(layers):
            raise ValueError(f"{len(covered)} neurons for {len(layers)} layers")
        return covered


class _LiteRt(_Said):
    """Its files hold float32 alone: another precision would only soften what they are held to."""

    precision: Literal["float32"] = "float32"


class _LiteRtProbed(_LiteRt):
    calls: list[Any]
    rows: Annotated[int, Field(ge=1, le=_MOST_ROWS)] | None = Field(default=None, validate_default=True)

    @field_validator("rows")
    @classmethod
    def _of_calls(cls, rows: int | None, info: ValidationInfo) -> int | None:
        if rows is None and info.data.get("calls"):
            raise ValueError(_MISSING)
        return rows


_OPENED: dict[str, type[_Said]] = {
    "c": _C,
    "tensorrt": _Engine,
    "onnx-int8": _Int8Opened,
    "openvino": _OpenVino,
    "openvino-step": _OpenVino,
    "openvino-int8": _OpenVino,
    "nir": _Nir,
    "litert": _LiteRt,
    "litert-step": _LiteRt,
}
_VERIFIED: dict[str, type[_Said]] = {
    **_OPENED,
    "tensorrt": _Network,
    "onnx-int8": _Int8,
    "openvino-int8": _OpenVinoInt8,
    "litert": _LiteRtProbed,
    "litert-step": _LiteRtProbed,
}


def check_said(artifact: Artifact, verified: bool) -> None:
    """Refuses a manifest that lacks what its target reads, or has it in another form.

    Args:
        artifact: The artifact.
        verified: Whether it is verified; else it is opened, which takes other fields in some targets.

    Raises:
        ArtifactError: Names the first field, and what was expected there.
    """
    target, info = artifact.manifest.target, artifact.manifest.target_info
    kind = (_VERIFIED if verified else _OPENED).get(target)
    if kind is None:
        return
    try:
        kind.model_validate(info)
    except ValidationError as error:
        place, said = first_fault(error)
        first = error.errors()[0]
        missing = first["type"] == "missing" or first["msg"].endswith(_MISSING)
        what = "is missing" if missing else "is of another form"
        raise ArtifactError(
            f"{artifact.path} is damaged: target_info.{place} of its manifest {what}, which target {target!r} reads",
            expected=_wanted(kind, info, first["loc"]) if missing else said,
            fix="export the model again",
        ) from error


def _wanted(kind: type[_Said], info: dict[str, Any], place: tuple[int | str, ...]) -> str:
    """Returns what is expected at a place where there is nothing: what pydantic says of None there."""
    data: Any = copy.deepcopy(info)
    part = data
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = object()
    try:
        kind.model_validate(data)
    except ValidationError as error:
        return next((str(one["msg"]) for one in error.errors() if one["loc"][: len(place)] == place), "")
    return ""

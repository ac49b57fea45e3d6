"""The options of the target `aoti`."""

from __future__ import annotations

from dataclasses import dataclass

from neurokit.errors import InputError
from neurokit.target import LowerOptions

PRECISIONS = ("float32", "float16", "bfloat16")
FORMS, DEVICES, KERNELS = ("sequence", "step"), ("cpu", "cuda"), ("auto", "all", "none")


@dataclass(frozen=True)
class Settings:
    """The target's own options.

    Attributes:
        form: "sequence", a whole sequence a call, or "step", one time step a call with states outside.
        device: "cpu" or "cuda".
        tune: Whether products and convolutions are timed in several forms while compiling (max-autotune).
        kernels: Whether the fused kernels take layers in: "all", "none", or "auto": on a GPU. On a CPU they are their
            definitions in plain operations.
        precision: What weights and currents are in; membranes are float32.
    """

    form: str = "sequence"
    device: str = "cpu"
    tune: bool = False
    kernels: str = "auto"
    precision: str = "float32"

    @property
    def fuses(self) -> bool:
        """Whether layers go into kernels."""
        return self.kernels == "all" or (self.kernels == "auto" and self.device == "cuda")

    @classmethod
    def of(cls, options: LowerOptions) -> Settings:
        """Reads them.

        Raises:
            InputError: If there is no such option, or it has no such value.
        """
        given = options.over({name: getattr(cls, name) for name in cls.__annotations__}, "aoti")
        choices = {"form": FORMS, "device": DEVICES, "kernels": KERNELS, "precision": PRECISIONS}
        for name, allowed in choices.items():
            if given[name] not in allowed:
                raise InputError(f"{name} is {given[name]!r}", expected=" or ".join(allowed))
        if str(given["tune"]).lower() not in ("true", "false"):
            raise InputError(f"tune is {given['tune']!r}", expected="true or false")
        if given["precision"] != "float32" and options.numerics == "exact":
            raise InputError("exact numerics have a precision of their own", fix="leave --option precision away")
        return cls(**{**given, "tune": str(given["tune"]).lower() == "true"})

"""The errors a user can meet: each says what happened, what was expected and how to fix it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# What reading a damaged archive of arrays raises.
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError),
    *(RecursionError, ArithmeticError, NotImplementedError, zipfile.BadZipFile, zlib.error),
)


class NeurokitError(Exception):
    """Base of every error that is raised for a reason the user can act on.

    Args:
        what: One line: what happened.
        expected: One line: what was expected instead.
        fix: One line: what to do or to run.
    """

    exit_code = 2

    def __init__(self, what: str, *, expected: str = "", fix: str = "") -> None:
        self.what = what
        self.expected = expected
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return "; ".join(parts)


class TerminatedError(SystemExit):
    """The command was told to end (SIGTERM): what it holds open is left as by any other error."""


class LeftOutWarning(UserWarning):
    """Says which files of a folder were left out of a set of samples, and why."""


class UnknownNameError(NeurokitError, LookupError):
    """A model, target, chip or kernel name that nobody registered."""


class DuplicateNameError(NeurokitError, ValueError):
    """Two things were registered under one name."""


class ModelLoadError(NeurokitError, RuntimeError):
    """A model file or factory that could not be turned into a module."""


class InputError(NeurokitError, ValueError):
    """An argument, tensor or input file with the wrong shape, type or value."""


class WeightsError(NeurokitError, ValueError):
    """A weights file that does not fit the model."""


class OutputError(NeurokitError, OSError):
    """An output folder that exists already or cannot be written."""


class ArtifactError(NeurokitError, ValueError):
    """An artifact folder that is no artifact, or is damaged."""


class UntrustedCodeError(ArtifactError):
    """An artifact whose machine code was not exported by this user on this machine, and is not trusted."""


class MissingRuntimeError(NeurokitError, ImportError):
    """A runtime or library that this machine does not have."""


class ParityError(NeurokitError, RuntimeError):
    """A lowered model that does not compute what its source computes."""

    exit_code = 1


class UnsupportedError(NeurokitError, NotImplementedError):
    """A model that cannot be captured or lowered; carries every reason.

    Args:
        what: One line: what was refused.
        reasons: Every `neurokit.target.Unsupported` that was found.
    """

    def __init__(self, what: str, reasons: Sequence[object] = (), *, expected: str = "", fix: str = "") -> None:
        super().__init__(what, expected=expected, fix=fix)
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        lines = [super().__str__()]
        lines += [f"  - {reason}" for reason in self.reasons]
        return "\n".join(lines)


class RandomNumbersError(UnsupportedError):
    """A model that draws random numbers, so that the same input has two answers."""


@dataclass(frozen=True)
class Unsupported:
    """One reason why something cannot be captured or lowered.

    Attributes:
        path: Module path in the user's model, for example "layer3.0.sn1", or "" for the model itself.
        what: The class or operation concerned.
        why: Why it cannot be done.
        fix: What the user can do about it.
    """

    path: str
    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path or '(model)'}: {self.what}: {self.why}; fix: {self.fix}"


def damaged(folder: Path, what: str) -> ArtifactError:
    """Returns the error that tells how an artifact is damaged."""
    return ArtifactError(
        f"{folder} is damaged: {what}", expected="the files as they were exported", fix="export the model again"
    )

"""A user's Python file: imported with what lies next to it, its factory called, its failures in one line."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurokit.errors import ModelLoadError, NeurokitError, TerminatedError
from neurokit.plain import check_regular
from neurokit.spec import ModelSpec

_MOST = 2**26  # bytes of a Python file


def near_files(path: Path) -> list[Path]:
    """Returns files beside a missing one whose names are like it."""
    if not path.parent.is_dir():
        return []
    names = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=3, cutoff=0.5)
    return [path.parent / name for name in names]


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets a user's file import what lies next to it and SpikingJelly's old names, also later inside its functions."""
    from neurokit.capture.legacy import old_code

    sys.path.insert(0, str(folder))
    try:
        with old_code():
            yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def import_file(path: Path, ref: str) -> types.ModuleType:
    """Imports a file afresh, as a module of a package made of its folder, so that `from .other import x` works."""
    try:
        check_regular(path, _MOST)
    except OSError as error:
        said = error.strerror or error
        raise ModelLoadError(f"model file {path} cannot be read: {said}", expected="a Python file") from error
    package = "neurokit_user_" + hashlib.sha256(str(path.parent).encode()).hexdigest()[:12]
    if package not in sys.modules:
        parent = types.ModuleType(package, f"The folder of {path.name}.")
        parent.__path__ = [str(path.parent)]
        sys.modules[package] = parent
    name = f"{package}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"model file {path} cannot be imported", expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing_from(path.parent):
            spec.loader.exec_module(module)
    except TerminatedError:  # our own end, not the file's
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelLoadError(f"model file of {ref} failed on import: {one_line(error)}") from error
    return module


def call_factory(module: types.ModuleType, name: str, path: Path, ref: str) -> Any:
    """Returns what the factory makes: a ModelSpec or an nn.Module."""
    from torch import nn

    factory = getattr(module, name, None)
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if factory is None:
        near = difflib.get_close_matches(name, own, n=3, cutoff=0.5)
        raise ModelLoadError(
            f"{path.name} has no function {name!r}",
            expected=f"one of {', '.join(sorted(own)) or '(none defined)'}",
            fix=f"did you mean {' or '.join(near)}?" if near else "",
        )
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ModelLoadError(
            f"{ref} is a {type(factory).__name__}, not a function",
            expected="a function without arguments that returns an nn.Module or a ModelSpec",
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ModelLoadError(f"factory {ref} cannot be called without arguments: {error}") from error
    except ValueError:  # built-in callables show no signature
        pass
    made = guarded(factory, path, ref)()
    if not isinstance(made, ModelSpec | nn.Module):
        raise ModelLoadError(
            f"factory {ref} returned a {type(made).__name__}", expected="an nn.Module or a neurokit.spec.ModelSpec"
        )
    return made


def guarded(function: Callable[[], Any], path: Path, ref: str) -> Callable[[], Any]:
    """Wraps a user's function: it can import from its folder, and its failure is one clear line."""

    def call() -> Any:
        from torch import nn

        from neurokit.capture.legacy import modernised

        try:
            with _importing_from(path.parent):
                made = function()
            return modernised(made) if isinstance(made, nn.Module) else made
        except (NeurokitError, TerminatedError):
            raise
        except (Exception, SystemExit) as error:
            raise ModelLoadError(f"factory {ref} raised {one_line(error)}") from error

    return call


def one_line(error: BaseException) -> str:
    """Returns an error's kind and the first line of what it says."""
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}{where}"

"""An empty samna, the driver of SynSense's boards, so that the Python code of mappers runs without it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any


class _Anything(type):
    """A class whose every attribute is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (object,), {"__init__": lambda self, *args, **options: None})


class _NoDriver(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty samna, the driver of the boards, which needs a licence and hardware."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] in ("samna", "samnagui"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__version__ = "0.48.6"
        module.__getattr__ = lambda name: _Anything.__getattr__(_Anything, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: Any) -> None:
        """Nothing is in it."""


def without_samna() -> None:
    """Lets samna be imported as an empty module."""
    sys.meta_path.insert(0, _NoDriver())

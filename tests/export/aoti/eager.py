"""Packages that are not compiled: the traced programs themselves, so that tests need no compiler's half a minute."""

from __future__ import annotations

import zipfile

from neurokit.export.aoti import build, run

PROGRAMS = {}


def install(monkeypatch) -> None:
    """Makes the target keep what it would compile, and its runner and probe run that."""
    monkeypatch.setattr(build, "compiled", lambda program, *settings: program)
    monkeypatch.setattr(build, "package", _keep)
    monkeypatch.setattr(run, "checked", lambda path, model: {})  # there is nothing in them
    monkeypatch.setattr(run, "load", lambda path, model, device: _loaded(_key_of(path), model))


def _keep(path, models) -> None:
    key = f"{len(PROGRAMS)} {path.name}"
    PROGRAMS[key] = models
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("key", key)


def _key_of(path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("key").decode()


def _loaded(key, model):
    made = PROGRAMS[key][model].module(check_guards=False)
    made._forward_pre_hooks.clear()  # bounds of the trace, two multiples of an axis say, which a package does not check
    return made

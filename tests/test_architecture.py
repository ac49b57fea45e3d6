"""The walls of the house: who may import whom, and what a bare import may load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .sources import read

ROOT = Path(__file__).parents[1]
# Globbing does not follow the links in neurokit/, so every file comes once.
FOLDERS = ("neurokit", "export", "kernels", "hw_sim", "benchmarks", "tests")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "tensorrt",
    "tensorrt_rtx",
    "triton",
    "numba",
    "spikingjelly",
    "numpy",
    "pydantic",
    "rich",
    "typer",
)
TOPS = {"export", "kernels", "hw_sim"}


def run(code):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_neurokit_loads_nothing_heavy():
    assert run(f"import sys, neurokit; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


@pytest.mark.parametrize("registry", ["spec.MODELS", "target.TARGETS"])
def test_listing_names_loads_no_runtime(registry):
    module, _, table = registry.partition(".")
    heavy = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "triton", "numba", "spikingjelly")
    code = f"""
import sys
from neurokit.{module} import {table}
{table}.names()
assert not {table}.broken, {table}.broken
print([name for name in {heavy} if name in sys.modules])
"""
    assert run(code) == "[]"


def test_the_import_contracts_are_kept():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_import_contracts_can_be_broken(tmp_path):
    """A contract that cannot see through the symbolic links would be kept by everything."""
    for name in ("neurokit", "export", "kernels", "hw_sim"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        if name != "neurokit":
            (tmp_path / "neurokit" / name).symlink_to(Path("..") / name)
    (tmp_path / "export" / "__init__.py").write_text("def f():\n    import neurokit.kernels\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_package = "neurokit"\n[[tool.importlinter.contracts]]\nname = "apart"\n'
        'type = "independence"\nmodules = ["neurokit.export", "neurokit.kernels", "neurokit.hw_sim"]\n'
    )
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "neurokit.export -> neurokit.kernels" in done.stdout


def test_nothing_imports_the_folders_by_their_bare_names():
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in read(path).imports
        if name.partition(".")[0] in TOPS
    ]
    assert found == []


def test_the_package_does_not_import_tests_or_benchmarks():
    found = [
        path.name
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")
        for name in read(path).imports
        if name.partition(".")[0] in ("tests", "benchmarks", "pytest", "hypothesis")
    ]
    assert found == []


def test_the_folders_are_relative_links():
    for name in sorted(TOPS):
        link = ROOT / "neurokit" / name
        if link.is_symlink():  # an unpacked wheel has folders
            assert link.readlink() == Path("..") / name


def test_every_module_opens_with_one_sentence():
    bare = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] != "tests" and not read(path).docstring
    ]
    assert bare == []


def test_public_names_are_what_they_say():
    """Also after a submodule of the same name was imported."""
    code = """
import importlib, types, neurokit
for name in ("capture", "verify", "pipeline"):
    try:
        importlib.import_module(f"neurokit.{name}")
    except ModuleNotFoundError:
        pass
for name in neurokit._PUBLIC:
    try:
        value = getattr(neurokit, name)
    except (AttributeError, ModuleNotFoundError):
        continue  # its part is not there yet
    assert not isinstance(value, types.ModuleType), name
    assert callable(value), name
assert neurokit.errors.InputError
assert neurokit.Artifact.__name__ == "Artifact"
assert {"Artifact", "capture", "errors", "open"} <= set(dir(neurokit))
try:
    neurokit.no_such_thing
except AttributeError as error:
    print(error)
"""
    assert run(code) == "module 'neurokit' has no attribute 'no_such_thing'"

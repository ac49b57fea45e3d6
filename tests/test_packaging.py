"""What is built is whole: a wheel and an sdist hold every package and data file, and nothing beside neurokit."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

from .sources import read

ROOT = Path(__file__).parents[1]
TOPS = ("export", "kernels", "hw_sim")
DATA = (".py", ".toml", ".json", ".j2", ".typed")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git would hand out, so that building leaves the tree as it is."""
    copy = tmp_path_factory.mktemp("build") / "neurokit"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("neurokit", *TOPS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def expected_files():
    found = set()
    for top in ("neurokit", *TOPS):
        for path in (ROOT / top).rglob("*"):
            inside = path.relative_to(ROOT)
            linked = inside.parts[:2] in [("neurokit", name) for name in TOPS]
            if path.is_file() and path.suffix in DATA and not linked and "__pycache__" not in inside.parts:
                found.add(str(inside) if top == "neurokit" else f"neurokit/{inside}")
    assert {"neurokit/py.typed", "neurokit/export/__init__.py", "neurokit/hw_sim/__init__.py"} <= found
    return found


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(checkout)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_everything(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith("neurokit_edge-")
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"neurokit"}
    assert expected_files() - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "neurokit = neurokit.cli:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_the_wheel_runs_from_an_empty_place(wheel, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path), str(wheel)], check=True, capture_output=True)
    code = (
        "import neurokit, neurokit.export, neurokit.hw_sim, importlib.util as u; print(neurokit.__file__); "
        "print([name for name in ('export', 'kernels', 'hw_sim') if u.find_spec(name)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [str(tmp_path / "neurokit" / "__init__.py"), "[]"]


def test_the_sdist_holds_everything(checkout, tmp_path):
    code = f"import setuptools.build_meta as build; build.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected_files() - names == set()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirement_names(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", entry).group().lower() for entry in requirements}


def test_every_pin_is_within_the_declared_range():
    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    declared = [*project()["dependencies"], *chain.from_iterable(project()["optional-dependencies"].values())]
    for entry in map(Requirement, declared):
        if entry.name.lower() in pins:
            assert entry.specifier.contains(pins[entry.name.lower()]), entry


def test_every_dependency_that_make_installs_is_pinned():
    extras = re.search(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split(",")
    optional = project()["optional-dependencies"]
    assert set(extras) <= set(optional)
    needed = requirement_names(project()["dependencies"]).union(
        *(requirement_names(optional[extra]) for extra in extras)
    )
    pins = requirement_names(line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert needed - pins == {"pre-commit"}  # a tool beside the tests


def test_no_package_index_is_named():
    text = "".join((ROOT / name).read_text() for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"))
    assert "://" not in text
    assert "index-url" not in text


def test_every_imported_library_is_declared():
    declared = requirement_names(
        [*project()["dependencies"], *chain.from_iterable(project()["optional-dependencies"].values())]
    )
    modules = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
        "pynvml": "nvidia-ml-py",
        "fla": "flash-linear-attention",
    }
    found = set()
    for path in (path for top in ("neurokit", *TOPS) for path in (ROOT / top).rglob("*.py")):
        found |= {name.partition(".")[0] for name in read(path).imports} - sys.stdlib_module_names - {"neurokit"}
    assert {"torch", "onnx_ir"} <= found
    of_vendors = {"tensorrt", "tensorrt_rtx", "jtop"}  # neurokit doctor says how to install them; jtop is a Jetson's
    apart = {"litert_torch"}  # installed by neurokit/export/litert/environment.py, where it runs alone
    missing = {name for name in found - of_vendors - apart if modules.get(name, name).replace("_", "-") not in declared}
    assert missing == set()


def test_every_extra_that_is_named_anywhere_is_declared():
    """In the Dockerfile, the action, make, the documentation and what a refusal says to install."""
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    files = [ROOT / name for name in ("Dockerfile", "action.yml", "Makefile", "README.md", "CONTRIBUTING.md")]
    files += [*(ROOT / "docs").rglob("*.md"), *chain(*((ROOT / top).rglob("*.py") for top in ("neurokit", *TOPS)))]
    named = {}
    for path in files:
        text = path.read_text()
        found = re.findall(r"""(?:neurokit-edge|/opt/neurokit|GITHUB_ACTION_PATH\}|["' ]\.)\[([a-z0-9,-]+)\]""", text)
        found += re.findall(r"^EXTRAS := (.+)$", text, re.MULTILINE)
        named |= {extra: path for extras in found for extra in extras.split(",")}
    assert {"torch", "onnx", "sim"} <= set(named)
    assert {extra: path.name for extra, path in named.items() if extra not in declared} == {}

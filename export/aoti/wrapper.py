"""The C++ around a package's program: what is the same in all of them is compiled once a machine."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurokit.export.aoti.replaced import replaced

_SUFFIX = ".wrapper.cpp"
_OURS = Path(__file__).parent / "cpp"
_CONSTRUCTOR = re.compile(
    r"AOTInductorModel::AOTInductorModel\([^{]*?: AOTInductorModelBase\((\d+),\s*(\d+),\s*(\d+),\s*device_str,"
    r"\s*std::move\(cubin_dir\),\s*(true|false)\) \{\n(.*?)\n\}\n",
    re.DOTALL,
)
_NAMED = re.compile(r"(inputs|outputs)_info_\[\d+\]\.name = (\".*\");")
_CONSTANT = re.compile(r"constants_info_\[(\d+)\]\.(\w+) = (.*);")
_SPEC = re.compile(r"(in|out)_spec_ = (R\"\(.*\)\");")
_OF_CONSTANT = (
    *("name", "dtype", "device_type", "offset", "data_size", "from_folded", "type"),
    *("shape", "stride", "layout", "original_fqn"),
)
_IN_ALL = (
    "update_constants_map(std::move(constants_map));",
    "update_constants_array(std::move(constants_array));",
    "this->kernels_ = std::make_unique<AOTInductorModelKernels>();",
)
_FUNCTIONS = """const PackageTable& package_table() {{
{}
  return table;
}}

std::unique_ptr<AOTInductorModelKernelsBase> package_kernels() {{
  return std::make_unique<AOTInductorModelKernels>();
}}
"""


@contextmanager
def interface_apart() -> Iterator[None]:
    """Has what is the same in every package's C++ be compiled by itself, and kept in the compiler's cache.

    PyTorch puts the functions that a loader calls and the constructor into the one file of a package's program. They
    take more of the C++ compiler's time than the program itself: of the 10.9 CPU seconds of `resnet34` (146 weights)
    3.2 are the functions, about 3 the regular expression by which the constructor reads a device's name, 2 the eleven
    statements for each weight. What the constructor sets is a table here, and both are objects that every package
    links, found by their text and the compiler's flags. A file that looks otherwise is compiled as it is.
    """
    from torch._inductor.cpp_builder import CppBuilder

    build = CppBuilder.build

    def build_apart(self: Any) -> None:
        parts = _parts(self)
        if parts is None:
            build(self)
            return
        own, same = parts
        source = self._sources_args
        place = source.removesuffix(_SUFFIX) + ".program.cpp"
        Path(place).write_text(own, encoding="utf-8")
        self._sources_args = place
        try:
            with _compiled_once(same, self.get_command_line().replace(self._output, ""), place) as made:
                build(self)
        finally:
            self._sources_args = source
        linked.append(str(made))

    linked = _linked()
    try:
        with replaced(CppBuilder, "build", build_apart):
            yield
    finally:
        linked.clear()  # as after a link, which an error may have come before


def _parts(builder: Any) -> tuple[str, str] | None:
    """Returns a program's own part of its file and that of all packages; None where it is no such file."""
    source = str(getattr(builder, "_sources_args", ""))
    if not source.endswith(_SUFFIX) or not hasattr(builder, "_output") or not Path(source).is_file():
        return None
    from torch._inductor.codegen import cpp_wrapper_cpu

    place = Path(cpp_wrapper_cpu.__file__).parent / "aoti_runtime" / "interface.cpp"
    if not place.is_file():
        return None
    return parted(Path(source).read_text(encoding="utf-8"), place.read_text(encoding="utf-8"))


def parted(text: str, interface: str) -> tuple[str, str] | None:
    """Returns the own part of a package's C++ and that of all packages.

    Args:
        text: The file that PyTorch wrote.
        interface: What it holds of all packages.

    Returns:
        Two files; None where the text does not hold the interface, or a constructor of another kind.
    """
    head, found, rest = text.partition(interface.strip())
    constructor = _CONSTRUCTOR.search(rest)
    table = _table(*constructor.groups()) if found and constructor else None
    if table is None or constructor is None:
        return None
    included = "\n".join(line for line in interface.splitlines() if line.startswith("#include"))
    shared = (_OURS / "table.h").read_text(encoding="utf-8")
    own = f"{head}{included}\n{shared}{rest[: constructor.start()]}{table}{rest[constructor.end() :]}"
    return own, f"{head}{interface}\n{shared}{(_OURS / 'constructor.cpp').read_text(encoding='utf-8')}"


def _table(inputs: str, outputs: str, constants: str, weights: str, body: str) -> str | None:
    """Returns the functions that hold what a constructor sets; None where it does anything else."""
    said = _statements(body)
    if said is None:
        return None
    names, rows, specs = said
    counts = tuple(str(len(one)) for one in (names["inputs"], names["outputs"], rows))
    if counts != (inputs, outputs, constants) or len(specs) != 2 or any(tuple(row) != _OF_CONSTANT for row in rows):
        return None
    shapes, strides = ([row[kind].strip("{}").split(", ") for row in rows] for kind in ("shape", "stride"))
    sizes = [size for pair in zip(shapes, strides, strict=True) for one in pair for size in one if size]
    ranks = [str(sum(map(bool, shape))) for shape in shapes]
    values = [(*list(row.values())[:7], rank, *list(row.values())[9:]) for row, rank in zip(rows, ranks, strict=True)]
    # Arrays of C++ are not empty: each has one more than what is read.
    arrays = {
        "const char* const inputs": [*names["inputs"], "nullptr"],
        "const char* const outputs": [*names["outputs"], "nullptr"],
        "const int64_t sizes": [*sizes, "0"],
        "const PackageConstant constants": [*(f"{{{', '.join(one)}}}" for one in values), "{}"],
    }
    given = (*counts, weights, "inputs", "outputs", "constants", "sizes", specs["in"], specs["out"])
    lines = [f"  static {name}[] = {{{', '.join(held)}}};" for name, held in arrays.items()]
    lines.append(f"  static const PackageTable table{{{', '.join(given)}}};")
    return _FUNCTIONS.format("\n".join(lines))


def _statements(body: str) -> tuple[dict[str, list[str]], list[dict[str, str]], dict[str, str]] | None:
    """Returns a constructor's names of inputs and outputs, the fields of its weights, and its two specifications."""
    names: dict[str, list[str]] = {"inputs": [], "outputs": []}
    rows: list[dict[str, str]] = []
    specs: dict[str, str] = {}
    for line in filter(None, map(str.strip, body.split("\n"))):
        if named := _NAMED.fullmatch(line):
            names[named[1]].append(named[2])
        elif constant := _CONSTANT.fullmatch(line):
            if int(constant[1]) == len(rows):
                rows.append({})
            rows[-1][constant[2]] = constant[3]
        elif spec := _SPEC.fullmatch(line):
            specs[spec[1]] = spec[2]
        elif line not in _IN_ALL:
            return None
    return names, rows, specs


@contextmanager
def _compiled_once(text: str, command: str, source: str) -> Iterator[Path]:
    """Compiles a file beside what the context does, unless the cache has its object, whose path is returned.

    Args:
        text: The file.
        command: The command that compiles another source, without where its object goes.
        source: That source.
    """
    from torch._inductor import exc
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    key = hashlib.sha256((command.replace(source, "") + text).encode()).hexdigest()[:32]
    made = Path(cache_dir()) / "neurokit-interface" / f"{key}.o"
    if made.exists():
        yield made
        return
    made.parent.mkdir(parents=True, exist_ok=True)
    place, fresh = made.with_suffix(".cpp"), made.with_suffix(f".{os.getpid()}.o")
    place.write_text(text, encoding="utf-8")
    line = [*shlex.split(command.replace(source, str(place))), "-c", "-o", str(fresh)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        yield made
        said, _ = running.communicate()
    if running.returncode:
        raise exc.CppCompileError(line, said)
    fresh.replace(made)


def _linked() -> list[str]:
    """Returns PyTorch's list of objects that are linked to the next package, beside its own."""
    import torch
    from torch._inductor.codecache import CUDACodeCache, ROCmCodeCache

    linked: list[str] = (ROCmCodeCache if torch.version.hip else CUDACodeCache).aot_kernels_o
    return linked

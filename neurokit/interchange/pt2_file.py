"""Reads a `.pt2` archive (torch.export.save) without torch's loader, which would run code that the file may hold.

torch.export.load 2.11 unpickles every payload that the archive marks as pickled, and its sample inputs, without
weights_only, and evaluates the text of symbolic expressions. What a network is, is in plain JSON and raw bytes beside
those; only that is read here, and only a short list of operators is known (`neurokit.interchange.pt2_net`).
"""

from __future__ import annotations

import copy
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurokit.errors import ModelLoadError, UnsupportedError
from neurokit.interchange.pt2_net import Pt2Net, reasons, try_net
from neurokit.spec import ModelSpec, TensorSpec

_MAX_BYTES = 2**31  # of everything in the archive; NEUROKIT_MAX_MODEL_BYTES changes it
_MAX_FILES = 100_000
_LAYOUTS = {1: "F", 2: "CL", 3: "CHW", 4: "CDHW"}
# torch's schema of exported programs, version 8 (torch/_export/serde/schema.py, ScalarType).
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_SCHEMA = 8
_SPIKING = ("spikingjelly.activation_based.neuron", "snntorch._neurons", "norse.torch.module")


def spec_from_pt2(path: Path) -> ModelSpec:
    """Reads a network `[B, *shape]` with one input, without neurons.

    Raises:
        ModelLoadError: If the file is damaged, too large, or pickled in what is needed of it.
        UnsupportedError: If it holds operators outside of the set; lists each.
    """
    net, shape = read_pt2(path)
    return ModelSpec(
        name=path.stem,
        build=lambda: copy.deepcopy(net),
        inputs=(TensorSpec("input", shape, layout=_LAYOUTS.get(len(shape), "")),),
        description="torch.export program",
        source=path.name,
    )


def read_pt2(path: Path) -> tuple[Pt2Net, tuple[int, ...]]:
    """Returns the module of a file and the shape of one sample."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(path, archive).read()
    except (ModelLoadError, UnsupportedError):
        raise
    except (OSError, zipfile.BadZipFile, RecursionError, MemoryError, NotImplementedError) as error:
        raise _bad(path, f"cannot be read: {str(error)[:200] or type(error).__name__}") from error
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, StopIteration) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise _bad(path, f"is no torch.export archive: {type(error).__name__} {first[:160]}") from error


class _Reader:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        entries = archive.infolist()
        self.left = limit = _limit()
        if len(entries) > _MAX_FILES or sum(entry.file_size for entry in entries) > limit:
            raise _bad(
                path,
                f"would unpack to more than {limit} bytes or {_MAX_FILES} files",
                "set NEUROKIT_MAX_MODEL_BYTES if the file is trusted",
            )
        # torch stores without compression; what is compressed may unpack to more than it declares.
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise _bad(path, f"holds {packed[0]!r} compressed, which torch.export.save does not do")
        names = [entry.filename for entry in entries]
        self.root = names[0].partition("/")[0] if names else ""
        self.names = set(names)
        if self._text("byteorder", "little") != "little":
            raise _bad(path, "holds big-endian numbers")

    def read(self) -> tuple[Pt2Net, tuple[int, ...]]:
        program = self._json("models/model.json")
        version = program["schema_version"]["major"]
        if version != _SCHEMA:
            raise _bad(self.path, f"is of schema {version}", f"save it with torch 2.11 (schema {_SCHEMA})")
        module = program["graph_module"]
        self._refuse_neurons(module["graph"]["nodes"])
        found = reasons(module["graph"]["nodes"])
        if found:
            raise UnsupportedError(f"{self.path.name} cannot be a model here", found)
        held, entry = self._inputs(module)
        sizes = [self._size(size) for size in module["graph"]["tensor_values"][entry]["sizes"]]
        shape = tuple(size for size in sizes[1:] if size is not None)
        if len(sizes) < 2 or len(shape) != len(sizes) - 1:
            raise _bad(self.path, f"has an input of shape {sizes}", "export it with fixed sizes behind the batch axis")
        outputs = [spec["user_output"]["arg"]["as_tensor"]["name"] for spec in self._outputs(module)]
        net = Pt2Net(module["graph"]["nodes"], entry, outputs, held)
        failure = try_net(net, shape)
        if failure:
            fix = "export it with a free batch axis (dynamic_shapes)" if sizes[0] not in (None, 2) else ""
            raise _bad(self.path, f"does not run on its own input {list(shape)}: {failure[:200]}", fix)
        return net, shape

    def _refuse_neurons(self, nodes: list[Any]) -> None:
        for node in nodes:
            stack = str(node.get("metadata", {}).get("nn_module_stack", ""))
            if any(name in stack for name in _SPIKING):
                raise _bad(
                    self.path,
                    "holds spiking neurons that torch.export took apart",
                    "give the module itself as path/file.py:factory, or a .nir file",
                )

    def _inputs(self, module: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
        """Returns parameters, buffers and constants by the name of their placeholder, and that of the input."""
        weights = self._tensors("data/weights", "model_weights_config.json")
        constants = self._tensors("data/constants", "model_constants_config.json")
        held: dict[str, Tensor] = {}
        entries = []
        for spec in module["signature"]["input_specs"]:
            ((kind, body),) = spec.items()
            if kind == "user_input":
                entries.append(body["arg"]["as_tensor"]["name"])
            elif kind == "parameter":
                held[body["arg"]["name"]] = weights[body["parameter_name"]]
            elif kind == "buffer":
                table = weights if body["buffer_name"] in weights else constants
                held[body["arg"]["name"]] = table[body["buffer_name"]]
            elif kind == "tensor_constant":
                held[body["arg"]["name"]] = constants[body["tensor_constant_name"]]
            else:
                raise _bad(self.path, f"has an input of kind {kind!r}", "a network of tensors")
        if len(entries) != 1:
            raise _bad(self.path, f"has {len(entries)} inputs", "a network with one input")
        return held, entries[0]

    def _outputs(self, module: Mapping[str, Any]) -> list[Any]:
        specs = module["signature"]["output_specs"]
        if any("user_output" not in spec for spec in specs):
            raise _bad(self.path, "changes its own buffers", "export it in evaluation mode")
        return list(specs)

    def _tensors(self, folder: str, config: str) -> dict[str, Tensor]:
        """Reads raw tensors; a pickled one is refused unread."""
        found = {}
        for name, entry in self._json(f"{folder}/{config}")["config"].items():
            if entry["use_pickle"]:
                raise _bad(
                    self.path,
                    f"keeps {name!r} pickled, and a pickle can run code",
                    "save it again with plain tensors as parameters and buffers",
                )
            meta = entry["tensor_meta"]
            data = self._bytes(f"{folder}/{entry['path_name']}")
            dtype = _DTYPES[meta["dtype"]]
            flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.zeros(0, dtype=dtype)
            sizes, strides = ([int(v["as_int"]) for v in meta[key]] for key in ("sizes", "strides"))
            self.left -= math.prod(sizes) * flat.element_size()  # strides of 0 make much of little
            if self.left < 0:
                raise _bad(self.path, f"would unpack to more than {_limit()} bytes (at {name!r})")
            found[name] = torch.as_strided(flat, sizes, strides, int(meta["storage_offset"]["as_int"])).clone()
        return found

    def _size(self, size: Mapping[str, Any]) -> int | None:
        return int(size["as_int"]) if "as_int" in size else None

    def _bytes(self, name: str) -> bytes:
        full = f"{self.root}/{name}"
        if full not in self.names:
            raise _bad(self.path, f"has no {name}")
        return self.archive.read(full)

    def _json(self, name: str) -> Any:
        return json.loads(self._bytes(name))

    def _text(self, name: str, default: str) -> str:
        return self._bytes(name).decode() if f"{self.root}/{name}" in self.names else default


def _limit() -> int:
    try:
        return int(os.environ.get("NEUROKIT_MAX_MODEL_BYTES", _MAX_BYTES))
    except ValueError:
        return _MAX_BYTES


def _bad(path: Path, what: str, fix: str = "") -> ModelLoadError:
    return ModelLoadError(f"{path.name} {what}", expected="a network saved by torch.export.save", fix=fix)

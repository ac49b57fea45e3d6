"""Reads public checkpoints of Llama, Qwen2, Qwen3 and Doge: config.json and safetensors files, every tensor or none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import WeightsError
from neurokit.models.decoder import decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.public_config import read_config, read_stop
from neurokit.plain import check_regular, json_of
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.models.decoder.net import Decoder

CONFIG, GENERATION, INDEX = "config.json", "generation_config.json", "model.safetensors.index.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
# Old checkpoints hold the rotary frequencies, which follow from the configuration.
_COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
_SHOWN = 3


def is_checkpoint(path: str | Path) -> bool:
    """Whether a path is the folder of a public checkpoint."""
    return (Path(path) / CONFIG).is_file()


def load_checkpoint(folder: str | Path, name: str = "") -> ModelSpec:
    """Returns the specification of a checkpoint; its weights are read when it is built.

    Args:
        folder: Holds config.json, maybe generation_config.json, and either model.safetensors.index.json with its files,
            or *.safetensors.
        name: Name of the model; default is the folder's.

    Raises:
        InputError: If it is of another architecture, or asks for something that the decoder does not compute.
        WeightsError: If a file is missing or damaged, a tensor is missing or left over, or a shape does not fit. Only
            the files' headers are read for that.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG)
    # Where both name tokens that end a text, the file of settings for writing is the later word.
    config = replace(config, stop=read_stop(folder / GENERATION) or config.stop)
    files = _files(folder)
    check_tensors(config, _headers(files), str(folder))

    def build(config: DecoderConfig) -> Any:
        from neurokit.models.decoder.net import blank

        module = blank(config)
        read_tensors(module, files)
        return module

    options = {"checkpoint": folder.resolve().name}
    return decoder_spec(name or folder.resolve().name, config, build, options=options)


def check_tensors(config: DecoderConfig, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuses tensors that are not exactly those of the model.

    Args:
        config: The model's sizes.
        found: Shapes by name.
        where: What to call the checkpoint in messages.

    Raises:
        WeightsError: Names what is missing, left over, or of another shape.
    """
    import torch

    from neurokit.models.decoder.net import Decoder

    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in Decoder(config).state_dict().items()}
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted and not _left_out(key, config)]
    pairs = {**wanted, HEAD: wanted[EMBEDDING]}
    wrong = [
        f"{key} is {list(shape)} for {list(pairs[key])}"
        for key, shape in found.items()
        if key in pairs and shape != pairs[key]
    ]
    for names, what in (
        (missing, "lacks"),
        (extra, "has more than the model:"),
        (wrong, "has other shapes:"),
    ):
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise WeightsError(
                f"checkpoint {where} {what} {shown} ({len(names)} tensors)",
                expected=f"exactly the {len(wanted)} tensors that its {CONFIG} says",
            )


def read_tensors(module: Decoder, files: Sequence[Path]) -> None:
    """Copies every tensor of the files into a module, in the module's own type.

    Raises:
        WeightsError: If a file is damaged, or a tied model comes with a head that is not its embedding.
    """
    import torch

    state, head = module.state_dict(), None
    with torch.no_grad():
        for path in files:
            with _open(path) as file:
                for key in file.keys():  # noqa: SIM118 - no mapping
                    if key in state:
                        _copy(file.get_tensor(key), state[key], key, path)
                    elif key == HEAD:
                        head = file.get_tensor(key)
        if head is not None and not torch.equal(head.to(state[EMBEDDING].dtype), state[EMBEDDING]):
            raise WeightsError(
                f"checkpoint {files[0].parent} ties its head to its embedding, and has another {HEAD}",
                expected="the same numbers, or tie_word_embeddings false",
            )


def _copy(given: Tensor, into: Tensor, key: str, path: Path) -> None:
    if not given.is_floating_point():
        raise WeightsError(f"{path}: {key} is {given.dtype}", expected="floating-point numbers, not quantised")
    into.copy_(given)


def _left_out(key: str, config: DecoderConfig) -> bool:
    return bool(_COMPUTED.fullmatch(key)) or (config.tied and key == HEAD)


def _files(folder: Path) -> list[Path]:
    """Returns the safetensors files of a checkpoint, by its index if it has one."""
    index = folder / INDEX
    if not index.is_file():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise WeightsError(f"checkpoint {folder} has no .safetensors file", expected="model.safetensors")
        return files
    try:
        names = sorted(set(json_of(index)["weight_map"].values()))
        files = [folder / name for name in names]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{index} cannot be read: {type(error).__name__}", expected="an index of files") from error
    for path in files:
        if path.parent != folder or not path.is_file():
            raise WeightsError(
                f"checkpoint {folder} has no file {path.name}", expected=f"every file that {INDEX} names"
            )
    return files


def _headers(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor, without reading one."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        with _open(path) as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                if key in shapes:
                    raise WeightsError(
                        f"{path} holds {key}, which another file holds, too", expected="each tensor once"
                    )
                shapes[key] = tuple(file.get_slice(key).get_shape())
    return shapes


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(check_regular(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights file {path} cannot be read: {str(error).splitlines()[0]}", expected="a whole safetensors file"
        ) from error

"""The transform `pause`: one token more, whose only meaning is that a model may think on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import UNREADABLE, InputError, Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor


@register_transform
class Pause:
    """Gives a language model one token more: a row of the embedding and one of the head, all others bit-equal."""

    info = TransformInfo(
        name="pause",
        summary="a language model with one token more, for pauses: one row of the embedding and one of the head",
        source="SCA (arXiv 2403.18976, abstract); Goyal et al., Think before you speak, ICLR 2024",
        options={
            "row": Option("mean", "mean of all rows, the number of a token, or a .npy file [2, width]: embedding, head")
        },
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model can have no further token; a row that does not exist is refused in a line."""
        if spec.with_tokens is None:
            return [Unsupported("", spec.name, "it is no decoder language model", "leave the transform away")]
        _rows(settings["row"], _vocabulary(spec))
        return []

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the model with the token."""
        assert spec.with_tokens is not None  # `check` was asked
        vocabulary = _vocabulary(spec)
        made = spec.with_tokens(1, _rows(settings["row"], vocabulary))
        return Transformed(made, (f"token {vocabulary} is the pause; its rows are {settings['row']}",))


def _vocabulary(spec: ModelSpec) -> int:
    return int(spec.task.settings["vocabulary"]) if spec.task else 0


def _rows(row: str, vocabulary: int) -> Any:
    """Returns what makes the new row `[1, width]` of a part, "embedding" or "head", from the rows that it has."""
    if row == "mean":
        return lambda weight, part: weight.double().mean(0, keepdim=True)
    if row.isascii() and row.isdigit() and len(row) < 10:
        at = int(row)
        if at >= vocabulary:
            raise InputError(f"transform 'pause': row is token {at}", expected=f"0 to {vocabulary - 1}")
        return lambda weight, part: weight[at : at + 1]
    if not row.endswith(".npy"):
        raise InputError(f"transform 'pause': row is {row!r}", expected="mean, the number of a token, or a .npy file")
    return _of_file(Path(row))


def _of_file(path: Path) -> Any:
    import numpy as np

    try:
        held = np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read: {said}", expected="a .npy file [2, width]") from error
    if held.ndim != 2 or held.shape[0] != 2 or held.dtype.kind != "f" or not np.isfinite(held).all():
        raise InputError(f"{path} is {list(held.shape)} {held.dtype}", expected="[2, width], finite numbers")

    def rows(weight: Tensor, part: str) -> Tensor:
        import torch

        return torch.from_numpy(held[[int(part == "head")]])

    return rows

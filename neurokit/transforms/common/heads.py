"""Layers and query heads as settings name them, and as files of heads say them."""

from __future__ import annotations

from typing import Any

from neurokit.errors import InputError
from neurokit.spec import AttentionHost
from neurokit.transforms.transform import TransformInfo, typed


def numbers(
    name: str, key: str, text: str, count: int, noun: str, host: AttentionHost | None = None
) -> tuple[int, ...]:
    """Reads "all", "1-2" or "0,3" (also "0+3") as numbers below `count`, in rising order, each once.

    Args:
        name: Name of the transform, for messages.
        key: Name of the setting.
        text: What was given.
        count: How many there are.
        noun: What one is called in messages.
        host: Of query heads: the model, whose key and value heads are named where they may be meant.

    Raises:
        InputError: If it is none of these, or names what does not exist.
    """
    if text == "all":
        return tuple(range(count))
    found: set[int] = set()
    for part in text.replace("+", ",").split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise InputError(f"transform {name!r}: {key}={text}", expected="all, 1-2 or 0,3")
        end = int(last) if dash else int(first)
        if end >= count:
            also = f" ({host.kv_heads} key and value heads are no count of them)" if host else ""
            raise InputError(
                f"transform {name!r}: {noun} {end} does not exist", expected=f"{noun}s 0 to {count - 1}{also}"
            )
        found.update(range(int(first), end + 1))
    return tuple(sorted(found))


def read_scope(path: str, method: str, host: AttentionHost) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Reads the query heads of each layer from a file of heads (`neurokit.attention.scopes`).

    Raises:
        InputError: If it cannot be read, is of another method or another model's sizes, counts key and value heads, or
            names what does not exist.
    """
    from neurokit.attention.scopes import read_heads

    listed = read_heads(path)
    if listed.method not in ("", method):
        raise InputError(f"{path} lists heads of {listed.method!r}", expected=method)
    if listed.query_heads == host.kv_heads != host.heads:
        raise InputError(
            f"{path} counts key and value heads: query_heads = {listed.query_heads}",
            expected=f"query_heads = {host.heads}: {host.heads // host.kv_heads} of them read each key and value head",
        )
    return tuple(listed.by_layer(host.layers, host.heads, path).items())


def file_settings(path: str, info: TransformInfo) -> dict[str, Any]:
    """Returns what a file of heads says of a transform's settings.

    Raises:
        InputError: If the file cannot be read, or a setting is unknown or of another type.
    """
    from neurokit.attention.scopes import read_heads

    found = {}
    for key, value in read_heads(path).settings.items():
        if key in ("layers", "heads", "file") or key not in info.options:
            continue  # what was measured beside the heads
        found[key] = typed(info.name, key, value, info.options[key])
    return found

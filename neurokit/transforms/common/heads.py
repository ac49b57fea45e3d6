"""Layers and query heads as settings name them, and lists of heads as TOML files, written and read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurokit.errors import InputError
from neurokit.spec import AttentionHost

_EXPECTED = "a TOML file with method, layers, query_heads and a table [heads] of lists by layer"


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


def read_heads(path: str | Path, method: str, host: AttentionHost) -> dict[int, list[int]]:
    """Reads a list of query heads by layer.

    Raises:
        InputError: If it cannot be read, is of another method or another model's sizes, counts key and value heads,
            or names what does not exist.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", expected=_EXPECTED) from error
    listed = data.get("heads")
    if not isinstance(listed, dict) or not listed:
        raise InputError(f"{path} lists no heads", expected=_EXPECTED)
    if data.get("method", method) != method:
        raise InputError(f"{path} lists heads of {data['method']!r}", expected=method)
    _check_sizes(path, data, host)
    found = {}
    for layer, heads in listed.items():
        if not layer.isdigit() or not isinstance(heads, list) or not all(type(head) is int for head in heads):
            raise InputError(f"{path}: heads of layer {layer!r} are {heads!r}", expected="a list of whole numbers")
        at = int(layer)
        if at not in host.dense or [head for head in heads if not 0 <= head < host.heads]:
            raise InputError(
                f"{path}: layer {at}, heads {heads} do not exist",
                expected=f"layers 0 to {host.layers - 1}, query heads 0 to {host.heads - 1}",
            )
        if heads:
            found[at] = sorted(set(heads))
    if not found:
        raise InputError(f"{path} lists no heads", expected=_EXPECTED)
    return found


def _check_sizes(path: str | Path, data: Mapping[str, Any], host: AttentionHost) -> None:
    """Refuses a list for another model, and one that counts key and value heads."""
    if "kv_heads" in data:
        raise InputError(
            f"{path} counts key and value heads",
            expected=f"query heads, 0 to {host.heads - 1}: each key and value head is read by "
            f"{host.heads // host.kv_heads} of them",
        )
    for key, has in (("layers", host.layers), ("query_heads", host.heads)):
        said = data.get(key, has)
        if said != has:
            kv = key == "query_heads" and said == host.kv_heads != host.heads
            what = "counts key and value heads: query_heads" if kv else f"is of another model: {key}"
            raise InputError(f"{path} {what} = {said!r}", expected=f"{key} = {has}")


def heads_toml(method: str, model: str, host: AttentionHost, heads: Mapping[int, Sequence[int]], note: str = "") -> str:
    """Returns a list of heads as a TOML file that `read_heads` reads."""
    lines = [f"# {note}"] if note else []
    lines += [f'method = "{method}"', f'model = "{model}"', f"layers = {host.layers}", f"query_heads = {host.heads}"]
    lines += ["", "[heads]", *(f"{layer} = {sorted(heads[layer])}" for layer in sorted(heads) if heads[layer])]
    return "\n".join(lines) + "\n"

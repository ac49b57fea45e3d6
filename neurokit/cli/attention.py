"""`neurokit attention N`: which way to attend to selected keys is fastest on a GPU, and from where selecting pays."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from neurokit.cli._common import Debug, Json, print_json

if TYPE_CHECKING:
    from neurokit.kernels.attention_path import Choice
    from neurokit.kernels.attention_path.measured import Kind

KINDS = ("blocks", "one query", "decode")
_PATHS = {
    "kernel": "neurokit's kernel",
    "flex": "FlexAttention over the same index",
    "dense": "dense attention (SDPA): selecting does not pay",
}


def attention(
    length: Annotated[int, typer.Argument(metavar="N", help="Keys of the text.")],
    kind: Annotated[
        str, typer.Option("--kind", help="blocks (of 128 queries), one-query (a list each), or decode (one new token).")
    ] = "blocks",
    density: Annotated[
        float | None, typer.Option("--density", help="Share of the (causal) keys that is attended to, above 0 to 1.")
    ] = None,
    keys: Annotated[int | None, typer.Option("--keys", help="In its place: keys a query, at every length.")] = None,
    selection: Annotated[
        str, typer.Option("--selection", help="What selects: given (costs nothing), or sale (its measured estimate).")
    ] = "given",
    selection_ms: Annotated[
        float | None, typer.Option("--selection-ms", help="In its place: milliseconds that selecting takes at N.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which path sparse attention takes on a GPU for N keys, by shipped measurements, and from which N it pays."""
    from neurokit.errors import InputError

    kind = kind.replace("-", " ")
    if kind not in KINDS or selection not in ("given", "sale"):
        raise InputError(
            f"--kind {kind}, --selection {selection}", expected="blocks, one-query or decode; given or sale"
        )
    if selection_ms is not None and not 0 <= selection_ms < float("inf"):
        raise InputError(f"--selection-ms {selection_ms}", expected="milliseconds, 0 or more")
    found = _choice(kind, length, density, keys, selection, selection_ms)
    if as_json:
        print_json({"length": length, "kind": kind, **asdict(found), "evidence": "measured", "unit": "ms"})
        return
    typer.echo(f"{length:,} keys, {kind}: {_PATHS[found.path]}")
    typer.echo(
        f"  {found.ms:.3g} ms with selecting, dense attention {found.dense_ms:.3g} ms (measured, bfloat16, 32 heads)"
    )
    typer.echo(f"  {found.why}")
    if found.pays_from is not None:
        typer.echo(f"  selecting pays from {found.pays_from:,} keys on")


def _choice(
    kind: str, length: int, density: float | None, keys: int | None, selection: str, selection_ms: float | None
) -> Choice:
    """Returns the path; a time that is given for N keys grows with their number as those of a row do."""
    from neurokit.kernels.attention_path import path_for

    if selection_ms is not None:
        each = selection_ms / max(length, 1)
        return path_for(cast("Kind", kind), length, density, keys=keys, selection=lambda n: each * n)
    chosen = "sale" if selection == "sale" else "given"
    return path_for(cast("Kind", kind), length, density, keys=keys, selection=chosen)  # type: ignore[arg-type]

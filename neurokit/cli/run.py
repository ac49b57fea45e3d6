"""`neurokit run`: write a text with the files of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next, progress, stdout_is_for_json
from neurokit.errors import InputError


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact of a language model, in its step form.")],
    prompt_ids: Annotated[
        list[str], typer.Option("--prompt-ids", metavar="N,N,...", help="Tokens of a prompt; repeatable, one batch.")
    ],
    tokens: Annotated[int, typer.Option("--tokens", help="Largest number of new tokens.")] = 16,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the most likely token.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the tokens that reach this probability.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    stop: Annotated[
        str | None,
        typer.Option("--stop", metavar="N,N,...", help="Tokens that end a text, instead of the model's own."),
    ] = None,
    chunk: Annotated[int | None, typer.Option("--chunk", help="Tokens of a prompt that are fed in one call.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write on from prompts, given and printed as token numbers."""
    prompts = [parse_tokens(text, "--prompt-ids") for text in prompt_ids]
    ends = None if stop is None else parse_tokens(stop, "--stop")
    with stdout_is_for_json(as_json):
        from neurokit.generation import generate

        with progress(f"run {folder}"):
            found = generate(
                folder,
                prompts,
                tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                stop=ends,
                chunk=chunk,
            )
    if as_json:
        rows = [
            {"prompt": prompt, "tokens": list(row.tokens), "ended": row.ended}
            for prompt, row in zip(prompts, found, strict=True)
        ]
        print_json({"artifact": str(folder), "texts": rows})
        return
    for row in found:
        typer.echo(",".join(map(str, row.tokens)))
    print_next(f"neurokit verify {folder}")


def parse_tokens(text: str, option: str) -> list[int]:
    """Reads `1,2,3`; nothing between the commas is nothing.

    Raises:
        InputError: If something else than whole numbers is there.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.removeprefix("-").isascii() and part.removeprefix("-").isdigit() for part in parts):
        raise InputError(f"{option} is {text!r}", expected="token numbers with commas between", fix="write 1,2,3")
    return [int(part) for part in parts]

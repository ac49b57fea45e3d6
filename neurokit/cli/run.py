"""`neurokit run`: what an artifact says of files, in the words of its task; or a text, of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurokit.cli._common import MOST_SEED, Debug, Json, print_json, print_next, progress, stdout_is_for_json
from neurokit.errors import UNREADABLE, InputError
from neurokit.plain import check_regular


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artifact.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="Samples: files, folders, class folders, lists; .npz or .json for several inputs by name.",
        ),
    ] = None,
    prompt_ids: Annotated[
        list[str] | None,
        typer.Option("--prompt-ids", metavar="N,N,...", help="Tokens of a prompt; repeatable, one batch."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", help="Largest number of new tokens.")] = 16,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the most likely token.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the tokens that reach this probability.")] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the draws: of tokens, and of random inputs.")
    ] = 0,
    stop: Annotated[
        str | None,
        typer.Option("--stop", metavar="N,N,...", help="Tokens that end a text, instead of the model's own."),
    ] = None,
    chunk: Annotated[int | None, typer.Option("--chunk", help="Tokens of a prompt that are fed in one call.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=FILE.npy", help="What stands beside prompts: pictures, a row a prompt."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write masks here: NAME_mask.nii.gz of volumes, .png of pictures."
        ),
    ] = None,
    overlap: Annotated[
        float, typer.Option("--overlap", help="Of windows over a volume, as a share of a window.")
    ] = 0.5,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer for files in the words of the model's task, or write on from prompts given as token numbers."""
    if bool(files) == bool(prompt_ids):
        raise InputError(
            "there are files and prompts" if files else "there is nothing to run",
            expected="files, or --prompt-ids of a language model",
            fix=f"neurokit run {folder} FILE",
        )
    if files:
        _answer(folder, files, seed, as_json, out, overlap)
        return
    prompts = [parse_tokens(text, "--prompt-ids") for text in prompt_ids or []]
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
                inputs=_arrays(inputs or []),
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
    print_next(["verify", folder])


def _arrays(given: list[str]) -> dict[str, Any]:
    """Reads `NAME=FILE.npy`.

    Raises:
        InputError: If an entry is something else, or its file is no array.
    """
    import numpy as np

    found = {}
    for entry in given:
        name, equals, path = entry.partition("=")
        if not equals or not name or name in found:
            raise InputError(f"--input is {entry!r}", expected="NAME=FILE.npy, each name once")
        try:
            found[name] = np.load(check_regular(path), allow_pickle=False)
        except UNREADABLE as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"{path} cannot be read: {said}", expected="a .npy file") from error
    return found


def _answer(folder: Path, files: list[Path], seed: int, as_json: bool, out: Path | None, overlap: float) -> None:
    with stdout_is_for_json(as_json):
        from neurokit.answering import in_words, samples_at
        from neurokit.answers import answer, cosines
        from neurokit.artifact import Artifact
        from neurokit.volume_answers import segment, takes_volumes

        artifact = Artifact.load(folder)
        if takes_volumes(artifact, files):
            samples: list[tuple[str, Any]] = [(str(file), file) for file in files]
            with progress(f"run {folder}"):
                found: list[Any] = list(segment(artifact, files, out, overlap=overlap))
        else:
            samples = [sample for place in files for sample in samples_at(artifact, place)]
            with progress(f"run {folder}"):
                found = answer(artifact, [sample for _, sample in samples], seed=seed, out=out)
        task = artifact.manifest.task
        pairs = cosines(found) if task is not None and task.name == "verification" else []
    names = [name for name, _ in samples]
    for row in pairs:
        row["pair"] = [names[at] for at in row["pair"]]
    if as_json:
        rows = [{"file": name, "answer": said} for name, said in zip(names, found, strict=True)]
        print_json({"artifact": str(folder), "answers": rows, **({"pairs": pairs} if pairs else {})})
        return
    for name, said in zip(names, found, strict=True):
        typer.echo(f"{name}: {in_words(said)}")
    for row in pairs:
        typer.echo(f"{' and '.join(row['pair'])}: distance {row['distance']:.4f} (cosine {row['cosine']:.4f})")
    print_next(["bench", folder])


_DIGITS = 18  # of a whole number that fits 64 bits


def parse_tokens(text: str, option: str) -> list[int]:
    """Reads `1,2,3`; nothing between the commas is nothing.

    Raises:
        InputError: If something else than whole numbers is there.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    digits = [part.removeprefix("-") for part in parts]
    if not all(part.isascii() and part.isdigit() and len(part) <= _DIGITS for part in digits):
        raise InputError(f"{option} is {text!r}", expected="token numbers with commas between", fix="write 1,2,3")
    return [int(part) for part in parts]

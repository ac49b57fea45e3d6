"""What all commands share: their common options, progress on the terminal and the end in three lines."""

from __future__ import annotations

import json
import logging
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neurokit import quiet
from neurokit.disk_space import FULL
from neurokit.errors import InputError, LeftOutWarning, NeurokitError, TerminatedError, UnsupportedError

given: list[str] = []  # what follows `neurokit` on the command line of this run
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
JSON_SCHEMA = 1  # of what --json prints; a report inside has its own
_DIGITS = 18  # of a whole number that fits 64 bits
MOST_SEED = 2**63 - 1
INTERRUPTED = 130  # 128 + SIGINT, as shells count it

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of text.")]
Random = Annotated[
    str, typer.Option("--random", help="Random draws of the forward: refuse, or input for an input of each.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and the libraries' warnings.")]


@contextmanager
def progress(doing: str) -> Iterator[None]:
    """Shows on standard error that something is going on and, when it is done, how long it took."""
    from rich.console import Console

    console, doing = Console(stderr=True, highlight=False), readable(doing)
    start = time.perf_counter()
    with console.status(f"{doing} ..."):
        yield
    console.print(f"[green]done[/] {doing} [dim]({time.perf_counter() - start:.1f} s)[/]", soft_wrap=True)


@contextmanager
def samples_done(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Shows on standard error how many samples are done and how long the rest will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    parts = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*parts, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
    console.print(f"[green]done[/] {doing} [dim]({time.perf_counter() - start:.1f} s)[/]", soft_wrap=True)


def say(line: str) -> None:
    """Shows on standard error why something takes long."""
    typer.echo(readable(line), err=True)


def print_json(data: Mapping[str, Any]) -> None:
    """Prints `data` as one JSON object on standard output, with the version of its schema."""
    data = {"schema_version": JSON_SCHEMA, **data}
    typer.echo(readable(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)))


def readable(text: str) -> str:
    """Returns text that can be printed: bytes of a path that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def print_next(*commands: Sequence[str | Path], err: bool = False) -> None:
    """Prints what the user may want to run next: commands of neurokit by their words, which run as printed."""
    for words in commands:
        typer.echo(readable(f"next: {shlex.join(['neurokit', *map(str, words)])}"), err=err)


def print_page(page: Path, said: str = "") -> None:
    """Prints which file to open in a browser."""
    typer.echo(readable(f"open {shlex.quote(str(page))} in a browser{said}"))


def build_folder(model: str, what: str) -> Path:
    """Returns a folder to advise for what is made of a model: `model` is a name, a file or file.py:factory."""
    return Path("build") / f"{re.sub(r'[^A-Za-z0-9_.-]', '-', Path(model).name)}-{what}"


def again(*more: str) -> list[str]:
    """Returns the words of this command with `more` behind them."""
    return [*given, *more]


def without(word: str) -> list[str]:
    """Returns the words of this command without one of them, such as "--dry-run"."""
    return [one for one in given if one != word]


def number_or_dynamic(text: str | None, option: str) -> int | Literal["dynamic"] | None:
    """Reads the value of an option that takes a whole number >= 1 or "dynamic".

    Args:
        text: What the user gave, or None for nothing.
        option: Name of the option, for the message.

    Raises:
        InputError: If `text` is neither.
    """
    if text is None:
        return None
    if text == "dynamic":
        return "dynamic"
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) >= 1:
        return int(text)
    raise InputError(f"{option} is {text!r}", expected="a whole number >= 1, or dynamic", fix=f"for example {option} 4")


def quiet_libraries(debug: bool) -> None:
    """Keeps the warnings of libraries off the terminal, unless `debug`."""
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
    if not debug:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", LeftOutWarning)


@contextmanager
def quiet_logs(debug: bool) -> Iterator[None]:
    """Keeps logs of libraries off the terminal, unless `debug`; says in a line of its own what was left out of data."""
    before, shown, level = logging.root.manager.disable, warnings.showwarning, quiet.LOG.level

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, LeftOutWarning):
            typer.echo(readable(f"warning: {message}"), err=True)
        else:
            shown(message, category, *where, **more)

    logging.disable(before if debug else logging.CRITICAL)
    quiet.LOG.setLevel(logging.DEBUG if debug else level)
    warnings.showwarning = show
    try:
        yield
    finally:
        logging.disable(before)
        quiet.LOG.setLevel(level)
        warnings.showwarning = shown


def is_usage_error(error: BaseException) -> bool:
    """Returns whether the command line itself was wrong (typer keeps the class of such errors to itself)."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def report_error(error: Exception, as_json: bool = False) -> int:
    """Prints what happened, what was expected and how to fix it, and returns the exit status."""
    if isinstance(error, typer.Abort):
        if not isinstance(error.__cause__, EOFError):
            return interrupted()
        error = error.__cause__  # click takes the end of a file for that of the keyboard, which nothing here reads
    what, expected, fix, status = _explain(error)
    lines = [f"error: {what}"]
    if isinstance(error, UnsupportedError):
        lines += [f"  - {_one_line(reason)}" for reason in error.reasons]
    lines += [f"expected: {expected}", f"fix: {fix}"]
    for line in lines:
        typer.echo(readable(line), err=True)
    if as_json:
        reasons = [_one_line(reason) for reason in getattr(error, "reasons", ())]
        kind = type(error).__name__
        print_json({"error": {"kind": kind, "what": what, "expected": expected, "fix": fix, "reasons": reasons}})
    return status


def interrupted() -> int:
    """Says that the user stopped the command, and returns the exit status for it."""
    typer.echo("interrupted; nothing was left half-written", err=True)
    return INTERRUPTED


def terminated(error: TerminatedError) -> int:
    """Says that the command was told to end, and returns the exit status for it."""
    typer.echo("terminated; nothing was left half-written", err=True)
    return int(error.code or 0)


def _explain(error: Exception) -> tuple[str, str, str, int]:
    """Returns what happened, what was expected, how to fix it, and the exit status."""
    if is_usage_error(error):
        return _explain_usage(error)
    if isinstance(error, NeurokitError):
        listed = isinstance(error, UnsupportedError) and bool(error.reasons)
        expected = error.expected or ("none of the above" if listed else "what the command's help says")
        fix = error.fix or ("as each line above says" if listed else _help())
        return _one_line(error.what), _one_line(expected), _one_line(fix), error.exit_code
    outside = _of_the_machine(error)
    if outside is not None:
        return outside
    what = f"{type(error).__name__}: {_one_line(error) or 'no message'}"
    expected = "no such error: it is one of neurokit, of a library or of the model's own code"
    return what, expected, "run the same command with --debug, and report what it shows", UNEXPECTED


def _help() -> str:
    """Returns the command that shows the help of what was run."""
    return f"see neurokit {given[0]} --help" if given and not given[0].startswith("-") else "see neurokit --help"


def _of_the_machine(error: BaseException) -> tuple[str, str, str, int] | None:
    """Returns what to say of an error that this machine, not neurokit, has raised: a file, the disk or the memory."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in FULL
        return (
            f"{where}{error.strerror}",
            "room on the disk" if full else "a file or folder that can be used so",
            "free some space" if full else "give another one",
            2,
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        from neurokit.doctor import what_installs

        known = what_installs(error.name)
        return known and (f"{error.name.partition('.')[0]} is not installed", f"it, for {known[0]}", known[1], 2)
    text = str(error)
    if (
        isinstance(error, MemoryError)
        or "allocate memory" in text
        or "bad_alloc" in text
        or "CUDA out of memory" in text
    ):
        return (
            f"it needs more memory than there is: {_one_line(error)}".removesuffix(": "),
            "sizes that this machine can hold",
            "a smaller batch, fewer time steps or a smaller input",
            2,
        )
    if isinstance(error, EOFError):
        return (f"a file ends too early: {_one_line(error)}".removesuffix(": "), "a whole file", "make it again", 2)
    if isinstance(error, RecursionError):
        return ("it nests too deep", "a file or model of some hundred levels at most", "flatten it", 2)
    return None


def _explain_usage(error: Any) -> tuple[str, str, str, int]:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "neurokit"
    usage = context.get_usage().removeprefix("Usage: ") if context is not None else "neurokit COMMAND"
    near = getattr(error, "possibilities", None)
    if near:
        return _one_line(error.message), _one_line(usage), f"did you mean {' or '.join(near[:2])}?", 2
    what, _, hint = _one_line(error.format_message()).partition(" Did you mean ")
    fix = f"did you mean {hint}" if hint else f"see {path} --help"
    return what, _one_line(usage), fix, 2


def _one_line(text: object) -> str:
    """Returns `text` without line breaks, and cut where it would fill more than a few terminal lines."""
    line = " ".join(str(text).split())
    return line if len(line) <= 400 else line[:397] + "..."


def stdout_is_for_json(as_json: bool) -> Any:
    """Returns a context in which what a library prints goes to standard error, if standard output is for JSON."""
    from contextlib import nullcontext, redirect_stdout

    return redirect_stdout(sys.stderr) if as_json else nullcontext()

"""The command line: a table of commands, each in a file of its own, and one place that ends every run."""

from __future__ import annotations

import functools
import importlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from neurokit._version import __version__
from neurokit.errors import TerminatedError

# Name on the command line and where its function is, in the order of the help text. To add a command, add a line.
COMMANDS: tuple[tuple[str, str], ...] = (
    ("models", "neurokit.cli.info:models"),
    ("targets", "neurokit.cli.info:targets"),
    ("chips", "neurokit.cli.chips:chips"),
    ("list", "neurokit.cli.info:list_"),
    ("doctor", "neurokit.cli.info:doctor"),
    ("train", "neurokit.cli.train:train"),
    ("export", "neurokit.cli.export:export"),
    ("deploy", "neurokit.cli.deploy:deploy"),
    ("sweep", "neurokit.cli.sweep:sweep"),
    ("verify", "neurokit.cli.verify:verify"),
    ("trust", "neurokit.cli.trust:trust"),
    ("run", "neurokit.cli.run:run"),
    ("energy", "neurokit.cli.energy:energy"),
    ("attention", "neurokit.cli.attention:attention"),
    ("bench", "neurokit.cli.bench:bench"),
    ("explain", "neurokit.cli.explain:explain"),
    ("heads", "neurokit.cli.heads:heads"),
    ("score", "neurokit.cli.score:score"),
    ("attribute", "neurokit.cli.pause:attribute"),
    ("pause", "neurokit.cli.pause:pause"),
    ("walls", "neurokit.cli.walls:walls"),
    ("report", "neurokit.cli.report:report"),
    ("demo", "neurokit.cli.demo:demo"),
)


# Commands that run files which may be anybody's in this process (`bench` has processes of its own for it).
_RUN_FILES = ("verify", "run", "score")


def build_app(commands: Sequence[tuple[str, str]] = COMMANDS) -> typer.Typer:
    """Returns the application with these commands: name, and where its function is."""
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        name="neurokit",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=settings,
    )
    app.callback()(_root)
    for name, place in commands:
        module, _, function = place.partition(":")
        app.command(name)(_telling_ctrl_c(getattr(importlib.import_module(module), function)))
    return app


def _asked_for(given: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Returns the command that is named first, alone: to read the options of all takes a fifth of a second more."""
    return [entry for entry in COMMANDS if list(given[:1]) == [entry[0]]] or COMMANDS


def _telling_ctrl_c(command: Callable[..., None]) -> Callable[..., None]:
    """Has a command say that it was interrupted: typer makes a status of Ctrl-C, and says nothing."""
    from neurokit.cli import _common

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(_common.interrupted()) from None

    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; a mistake ends in three lines instead of a traceback.

    Status: 0 done, 1 a check failed, 2 the user's mistake, 70 an unexpected error, 130 Ctrl-C, 143 terminated.

    Args:
        arguments: What follows `neurokit` on the command line; by default that of the process.
    """
    from neurokit import garbage, stages, stuck, supervised
    from neurokit.cli import _common

    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    _common.given[:] = given
    _common.quiet_libraries(debug)
    for stream in (sys.stdout, sys.stderr):  # a path that is no UTF-8 is shown with question marks
        with suppress(AttributeError, ValueError):  # a notebook's has no such setting
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    if arguments is None:  # in tests and notebooks, signals and the collector belong to the caller
        garbage.search_rarely()
        if given[:1] and given[0] in _RUN_FILES:
            ended = supervised.child_status()
            if ended is not None:
                return ended if isinstance(ended, int) else _common.report_error(ended, as_json="--json" in given)
        signal.signal(signal.SIGTERM, _terminate)
        stuck.watch()
    try:
        with _common.quiet_logs(debug), stages.heard(_common.say):
            app = build_app(_asked_for(given))
            return int(app(given or ["--help"], standalone_mode=False, prog_name="neurokit") or 0)
    except Exception as error:  # the outermost frame: everything else was more specific
        if debug and not _common.is_usage_error(error):
            traceback.print_exception(error)
        return _common.report_error(error, as_json="--json" in given)
    except KeyboardInterrupt:
        return _common.interrupted()
    except TerminatedError as error:
        return _common.terminated(error)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """Leaves through the `with` blocks, so that half-written folders are removed."""
    signal.signal(signum, signal.SIG_IGN)  # another one would cut what is being tidied up
    raise TerminatedError(128 + signum)


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda on: _show_version(on), help="Print the version.")
    ] = False,
) -> None:
    """Define a spiking or edge network once; deploy it, verify it, price it and measure it."""


def _show_version(on: bool) -> None:
    if on:
        typer.echo(f"neurokit {__version__}")
        raise typer.Exit

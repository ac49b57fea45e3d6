"""Pages that the code writes: the Python API, the command line, chips and kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def python_api() -> str:
    """Returns one entry for each public name, for mkdocstrings to fill."""
    import neurokit

    parts = [
        "# Python\nEverything that `dir(neurokit)` names. Errors are under [errors](#errors); what is not here may"
        " change without notice ([versions](../versions.md)).\n"
    ]
    parts += [f"::: {module}.{name}\n" for name, module in sorted(neurokit._PUBLIC.items())]
    parts.append(
        "## errors\n\n::: neurokit.errors\n    options:\n      show_root_heading: false\n      heading_level: 3\n"
    )
    return "\n".join(parts)


def command_line() -> str:
    """Returns every command with its arguments and options, from the parser itself."""
    import typer

    from neurokit.cli import build_app

    top = typer.main.get_command(build_app())
    parts = [
        "# Command line\nExit status: 0 done, 1 a check failed, 2 a mistake in the command. Every command takes"
        " `--json` (one object on standard output, with a `schema_version`), `--debug` and `--help`.\n"
    ]
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        parts.append(f"## {name}\n{command.help or ''}\n")
        parts.append("| argument or option | default | meaning |\n|---|---|---|")
        parts += [_parameter(parameter) for parameter in command.params if not _everywhere(parameter)]
        parts.append("")
    return "\n".join(parts)


def _everywhere(parameter: Any) -> bool:
    return getattr(parameter, "hidden", False) or parameter.name in ("as_json", "debug")


def _parameter(parameter: Any) -> str:
    """Returns the row of one argument or option."""
    option = parameter.param_type_name == "option"
    names = parameter.opts + parameter.secondary_opts if option else [parameter.metavar or parameter.name.upper()]
    value = f" {parameter.metavar}" if option and parameter.metavar else ""
    default = parameter.default
    shown = "" if default in (None, (), [], False, "") or callable(default) else f"`{default}`"
    cells = [", ".join(f"`{name}`" for name in names) + value, "required" if parameter.required else shown]
    cells.append(" ".join((getattr(parameter, "help", "") or "").split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def chips() -> str:
    """Returns a card a chip: everything its file states, as `neurokit chips NAME` prints it."""
    from neurokit.hw_sim.chips.file import chip_names

    parts = [
        "# Chips\nOne card a chip, from its file in `hw_sim/chips`. A price is joules an event; its kind says whether"
        " somebody measured, simulated or assumed it.\n"
    ]
    return "\n".join([*parts, *(_card(name) for name in chip_names())])


def _card(name: str) -> str:
    """Returns the card of one chip."""
    from neurokit.hw_sim.chips.file import load_chip
    from neurokit.hw_sim.chips.profile import chip_card

    card = chip_card(load_chip(name))
    rows = [(kind, term, row) for kind in ("prices", "times") for term, row in card[kind].items()]
    lines = [f"## {name}", f"**{card['title']}**, {card['maker']}. {card['summary']}", ""]
    if rows:
        lines += ["| term | value and interval | basis | source |", "|---|---|---|---|"]
    else:
        lines.append("No published price.")
    for kind, term, row in rows:
        source = row["source"].replace("|", " ")
        what = term if kind == "prices" else f"{term}, time"
        lines.append(f"| {what} | {row['text']} | {row['basis']} | {source} |")
    limits = ", ".join(f"{key} {value}" for key, value in card["limits"].items() if value not in (None, [], False))
    lines += ["", f"Limits: {limits}; from {card['limits_source']}." if limits else "No limits are known."]
    return "\n".join([*lines, ""])


def kernels() -> str:
    """Returns the list of kernels with links to what each states of itself."""
    from neurokit import listing

    rows, _ = listing.KINDS["kernels"]()
    pages = {path.parent.name for path in (Path(__file__).parents[2] / "kernels").glob("*/README.md")}
    names = {row["name"]: f"`{row['name']}`" for row in rows}
    names |= {name: f"[{shown}](kernels/{name}.md)" for name, shown in names.items() if name in pages}
    lines = [f"| {names[row['name']]} | {row['summary']} |" for row in rows]
    return "\n".join(
        [
            "# Kernels",
            "Fused Triton kernels with a definition in plain PyTorch beside each; equations, numerics and distance to"
            " the roofline are on each page.",
            "",
            "| kernel | what it computes |",
            "|---|---|",
            *lines,
            "",
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "reference/python.md": python_api,
    "reference/command-line.md": command_line,
    "reference/chips.md": chips,
    "reference/kernels.md": kernels,
}

"""`neurokit models`, `targets` and `doctor`: what there is, and what this machine lacks."""

from __future__ import annotations

from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next

_EXAMPLE = "spiking_cnn"  # the smallest network of the zoo


def models(as_json: Json = False, debug: Debug = False) -> None:
    """List the models of the zoo."""
    from neurokit import listing

    rows, broken = listing.models()
    if as_json:
        print_json({"models": rows, "broken": broken})
        return
    from neurokit import render

    render.show(render.models(rows), render.broken(broken))
    print_next(["export", _EXAMPLE, "--target", "onnx", "--out", f"{_EXAMPLE}-onnx"])


def targets(as_json: Json = False, debug: Debug = False) -> None:
    """List the targets, and what each one lacks on this machine."""
    from neurokit import listing

    rows, broken = listing.targets()
    if as_json:
        print_json({"targets": rows, "broken": broken})
        return
    from neurokit import render

    render.show(render.targets(rows), render.broken(broken))
    ready = sorted((row["name"] for row in rows if not row["missing"]), key=lambda name: name != "onnx")[0]
    print_next(["export", _EXAMPLE, "--target", ready, "--out", f"{_EXAMPLE}-{ready}"])


def list_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="models, targets, chips, tasks, transforms, ...")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a table for documents.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List whatever is registered under KIND, other distributions' entries included."""
    from neurokit import listing
    from neurokit.errors import InputError

    if kind not in listing.KINDS:
        raise InputError(f"nothing is listed as {kind!r}", expected="one of " + ", ".join(listing.KINDS))
    if markdown:
        from neurokit.catalogue import table

        typer.echo(table(kind))
        return
    rows, broken = listing.KINDS[kind]()
    if as_json:
        print_json({kind: rows, "broken": broken})
        return
    from neurokit import render

    render.show(render.rows(rows), render.broken(broken))


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine has, what it lacks, and the command that installs it."""
    from dataclasses import asdict

    from neurokit.doctor import examine

    checks = examine()
    healthy = all(check.state == "ok" for check in checks if check.required)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        from neurokit import render

        render.show(render.checks(checks))
        lacks = next((check.install for check in checks if check.name == "torch" and check.state != "ok"), "")
        if lacks:
            typer.echo(f"next: {lacks}")
        else:
            print_next(["demo"])
    raise typer.Exit(0 if healthy else 1)

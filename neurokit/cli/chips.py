"""`neurokit chips [NAME]`: the chips that can be priced, or the card of one."""

from __future__ import annotations

from typing import Annotated

import typer

from neurokit.cli._common import Debug, Json, print_json, print_next


def chips(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A chip, or the path of a .toml file, for its card.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the chips, or show everything that is known of one and where it is from."""
    from neurokit.hw_sim.chips.file import chip_names, load_chip
    from neurokit.hw_sim.chips.profile import chip_card
    from neurokit.render import energy as render
    from neurokit.render import show

    if name is not None:
        card = chip_card(load_chip(name))
        if as_json:
            print_json(card)
            return
        show(render.chip_card(card))
        print_next(["energy", "spiking_cnn", "--chip", name])
        return
    cards = [chip_card(load_chip(known)) for known in chip_names()]
    if as_json:
        print_json({"chips": cards})
        return
    show(render.chip_list(cards))
    print_next(["chips", "loihi1"], ["energy", "spiking_cnn", "--chip", "loihi1"])

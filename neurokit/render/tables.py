"""The one form of table that the command line prints."""

from __future__ import annotations

from rich.table import Table


def plain_table(*columns: str) -> Table:
    """Returns an empty table without lines, whose cells wrap instead of being cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

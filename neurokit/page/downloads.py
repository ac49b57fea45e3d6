"""What can be taken away from a page: drawings as SVG and PNG, tables as CSV and LaTeX, without a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from neurokit.page.tables import as_csv, as_latex, link_to

#: What a page's style sheet gives its drawings, for a drawing that is a file of its own.
_STYLE = (
    "text{font:11px sans-serif;fill:#1c2733}.grid{stroke:#d7dee5}.front{fill:none;stroke:#888;stroke-dasharray:4 3}"
    ".whisker{opacity:.35}.small{font-size:10px}.number{font-size:10px;font-weight:700}.band{fill:#a9c6e3}"
    ".dot,.column{fill:#2f6fb2}"
)


@dataclass(frozen=True)
class Download:
    """One file to take away.

    Attributes:
        name: What it is called on the page.
        file: Name of the file.
        link: A link that holds it.
    """

    name: str
    file: str
    link: str


def file_name(*parts: str) -> str:
    """Returns a file's name from words."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, parts)).lower()).strip("-")


def drawing_link(svg: str) -> str:
    """Returns a link to a drawing as a file of its own, with its styles in it; "" for no drawing."""
    if not svg:
        return ""
    alone = (
        svg
        if "xmlns=" in svg.partition(">")[0]
        else svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )
    head, bracket, rest = alone.partition(">")
    return link_to(f"{head}{bracket}<style>{_STYLE}</style>{rest}", "image/svg+xml")


@dataclass(frozen=True)
class Picture:
    """A drawing with what it is taken away as."""

    svg: str
    file: str
    link: str


def pictures(name: str, drawings: Sequence[str]) -> list[Picture]:
    """Returns drawings that can be taken away; empty ones are left out."""
    shown = [drawing for drawing in drawings if drawing]
    files = [file_name(name, str(at + 1) if len(shown) > 1 else "") for at in range(len(shown))]
    return [Picture(svg, file, drawing_link(svg)) for svg, file in zip(shown, files, strict=True)]


def table_links(
    name: str,
    file: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    shown: Sequence[Sequence[str]] | None = None,
) -> list[Download]:
    """Returns a table as CSV and as LaTeX.

    Args:
        name: What the table is called.
        file: Name of the files, without their ends.
        heads: Columns.
        rows: Cells for reading by programs: plain numbers in SI units.
        shown: Cells for people, in LaTeX; default are the same.
    """
    return [
        Download(f"{name} as CSV", f"{file}.csv", link_to(as_csv(heads, rows), "text/csv")),
        Download(f"{name} as LaTeX", f"{file}.tex", link_to(as_latex(heads, shown or rows), "text/x-tex")),
    ]

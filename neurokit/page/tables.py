"""Tables of a page as files to take away: CSV, and LaTeX with booktabs, as links that need no server."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence

_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "µ": r"\textmu{}",
}
_FORMULA = "=+-@\t\r"  # what a spreadsheet takes for the start of a formula


def as_csv(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table as CSV; text that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([[_plain(cell) for cell in row] for row in rows])
    return out.getvalue()


def _plain(cell: str) -> str:
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell[:1] and cell[:1] in _FORMULA and len(cell) > 1 else cell
    return cell


def as_latex(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in LaTeX, with the rules of booktabs."""
    lines = [
        f"\\begin{{tabular}}{{{'l' * len(heads)}}}",
        r"\toprule",
        " & ".join(map(latex_text, heads)) + r" \\",
        r"\midrule",
    ]
    lines += [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_text(text: str) -> str:
    """Returns text as LaTeX sets it."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def link_to(text: str, kind: str) -> str:
    """Returns a link that holds a file of a kind (`text/csv`)."""
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"

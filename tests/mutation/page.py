"""The page of the planted faults, docs/mutation.md, from the rows of a run."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.plant import ALL_FORMS, DIFFERENT, EXACT, FILES, INT8, NIR, Row, faults_of, networks_of

PAGE = Path(__file__).parents[2] / "docs" / "mutation.md"
_HEAD = """# Planted faults
What an exporter could get wrong, planted into sound artifacts, which are sealed again and verified. Made by
`python -m tests.mutation.run --jobs 2 --write`.

"""
_SAYS = """*Real*: the answers to four samples that the artifact never saw differ by more than rounding may make of the
network's outputs, and by more than {different:g} (relative L2, by ONNX Runtime directly, a little beyond the declared
range; sound artifacts: {sound:.1e} at most), from
- eager PyTorch in float forms. Bounds of rounding: {bounds};
- the sound file in the exact form, where any other bit is real, within the declared range;
- the sound file in int8, where the bound is what int8 itself moved the float network's answers by: {int8}.

NIR files have faults of their own, and what is refused when it is opened counts as real. Faults of the manifest and of
the test vectors ("files") are all real. A fault that is not real on these samples may be caught all the same.
"""


def table(found: Sequence[Row], state: str = "", left: int = 0) -> str:
    """Returns the page: how many of each form are caught, and one line a fault over all networks and forms.

    Args:
        found: The rows.
        state: What is to be said of the code that was run.
        left: How many combinations of network, form and fault were not tried.
    """
    planted = [row for row in found if row.fault]
    # In the order of their registry, whatever process was first: pages differ by what was caught alone.
    known = dict.fromkeys(fault for form in ALL_FORMS for fault in faults_of(form))
    ran = {row.fault for row in planted}
    names = [name for name in known if name in ran]
    kinds = len({name.partition(",")[0] for name in names})
    sound = [row for row in found if not row.fault and row.form not in (EXACT, INT8)]
    said = _SAYS.format(
        different=DIFFERENT,
        sound=max((row.error for row in sound), default=0.0),
        bounds=_bounds([row for row in found if row.form not in (EXACT, INT8, FILES, NIR)]),
        int8=_bounds([row for row in found if row.form == INT8]),
    )
    missed = [row for row in planted if row.real and not row.caught]
    below = [row for row in planted if not row.real and row.error > DIFFERENT and not row.caught]
    lines = [
        f"{kinds} kinds of faults ({len(names)} with their magnitudes), {len({row.network for row in found})} "
        f"networks, {len({row.form for row in found})} forms: {len(planted)} faulty artifacts.",
        *([state] if state else []),
        *([f"Not tried for this page: {left} combinations of network, form and fault."] if left else []),
        "",
        said,
        *_of_forms(found),
        "",
        *_missing(found),
        "| fault | planted | real | real and caught | not real, caught |",
        "|---|---|---|---|---|",
        *(_line(name, [row for row in planted if row.fault == name]) for name in names),
    ]
    for title, rows in (("Passed below the bound of rounding:", below), ("Missed:", missed)):
        if rows:
            lines += ["", title, *(f"- {r.fault}: {r.network}, {r.form}, answers off by {r.error:.1e}" for r in rows)]
    return _HEAD + "\n".join(lines) + "\n"


def _of_forms(found: Sequence[Row]) -> list[str]:
    lines = [
        "| form | networks | faulty | real | real and missed | not real | of these caught "
        "| off but below the bound, passed | sound, false alarms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for form in [form for form in ALL_FORMS if any(row.form == form for row in found)]:
        rows = [row for row in found if row.form == form]
        planted = [row for row in rows if row.fault]
        real, other = [r for r in planted if r.real], [r for r in planted if not r.real]
        below = sum(r.error > DIFFERENT and not r.caught for r in other)
        cells = (
            len({row.network for row in rows}),
            len(planted),
            len(real),
            sum(not r.caught for r in real),
            len(other),
            sum(r.caught for r in other),
            below,
            f"{sum(not r.fault for r in rows)}, {sum(r.caught for r in rows if not r.fault)}",
        )
        lines.append(f"| {form} | " + " | ".join(map(str, cells)) + " |")
    return lines


def _line(fault: str, entries: list[Row]) -> str:
    real = [row for row in entries if row.real]
    rest = [row for row in entries if not row.real]
    caught = sum(row.caught for row in real)
    return f"| {fault} | {len(entries)} | {len(real)} | {caught} | {sum(row.caught for row in rest)} of {len(rest)} |"


def _bounds(found: Sequence[Row]) -> str:
    bounds: dict[str, float] = collections.defaultdict(float)
    for row in found:
        bounds[row.network] = max(bounds[row.network], row.bound)
    return ", ".join(f"{name} {bound:.1e}" for name, bound in sorted(bounds.items()))


def _missing(found: Sequence[Row]) -> list[str]:
    """Returns which networks and forms were not run."""
    ran = {(row.network, row.form) for row in found}
    left = [f"{name} ({form})" for form in ALL_FORMS for name in networks_of(form) if (name, form) not in ran]
    return [f"Not run for this page: {', '.join(left)}.", ""] if left else []

"""How a capture compares with the user's own module, as lines of text."""

from __future__ import annotations

from rich.console import RenderableType
from rich.markup import escape

from neurokit.reports import Fidelity

_NAMES = {"program": "at once", "twin": "at once", "steps": "in steps"}


def fidelity(report: Fidelity | None) -> list[RenderableType]:
    """Returns a line on what was compared, and one for what was left out; nothing where nothing was compared."""
    if report is None:
        return []
    runs = report.comparisons
    steps = " and ".join(str(t) for t in sorted({one.time_steps for one in runs if one.time_steps is not None}))
    batches = " and ".join(str(b) for b in sorted({one.batch for one in runs}))
    how = " and ".join(dict.fromkeys(_NAMES[one.side] for one in runs))
    decisions, differ = (sum(getattr(one, key) for one in runs) for key in ("decisions", "spikes_differ"))
    said = [f"T = {steps}"] if steps else []
    said += [f"B = {batches}", *([how] if steps else []), f"{runs[0].precision if runs else ''}"]
    parts: list[RenderableType] = []
    if runs:
        spikes = f"{differ:,} of {decisions:,} spike decisions differ, " if decisions else ""
        parts.append(
            f"the module itself, run on fresh inputs ({', '.join(said)}): {spikes}output error "
            f"{report.output_error:.2g} ({report.seconds:.1f} s)"
        )
    parts += [escape(f"not compared with the module: {line}") for line in report.not_compared]
    return parts

"""What a target would make of a model, as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape

from neurokit.plans import LoweringPlan
from neurokit.render.tables import plain_table


def lowering(plan: LoweringPlan) -> RenderableType:
    """Returns a row a layer: its kernel and what goes with it, or why it stays in plain operations."""
    table = plain_table("layer", "kernel", "with it", "why no other kernel")
    for layer in plan.layers:
        reasons = "; ".join(f"{kernel}: {why}" for kernel, why in layer.reasons.items())
        table.add_row(escape(layer.layer), layer.kernel or "plain operations", ", ".join(layer.inside), escape(reasons))
    fused = sum(bool(layer.kernel) for layer in plan.layers)
    said = f"{fused} of {len(plan.layers)} layers of {plan.model} go into kernels ({plan.numerics})"
    return Group(table, escape(said))

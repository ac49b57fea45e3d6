"""Counts how many layers of the zoo's spiking networks go into kernels of the target `aoti`; no GPU is needed.

    python benchmarks/aoti_plans.py [--models NAME ...] [--write docs/aoti.md]

Each model is captured once, at its full size, in exact numerics and in float16, and planned as for a GPU. With
`--write` the table goes between the two marks of a page.
"""

from __future__ import annotations

import argparse
import collections
import json
from pathlib import Path

MODELS = (
    "sew_resnet18",
    "metaspikeformer_15m",
    "metaspikeformer_31m",
    "metaspikeformer_55m",
    "puppets_sew_resnet34",
    "puppets_ms_resnet34",
    "puppets_spiking_mobilenet_v2",
    "spiking_cnn",
    *(
        f"examples/spikingjelly_models.py:{name}_small"
        for name in ("spiking_vgg11_bn", "ms_resnet18", "spikformer_ti", "qkformer_10_384", "sdt_8_384")
    ),
)
SUMS = "sums"  # products without a neuron that go into the kernels of the first two columns
KERNELS = ("spike_conv_lif", "spike_linear_lif", "sdsa_lif", "gate_lif", "pool_lif", "depthwise", SUMS, "lif")
_BEGIN, _END = "<!-- plans: begin -->", "<!-- plans: end -->"


def counted(name: str, small: bool) -> list[dict[str, object]]:
    """Returns a row for exact numerics and one for float16: layers by kernel, and why the others stay outside."""
    import neurokit as nk

    spec = nk.load(name)
    name = name.rpartition(":")[2]
    captured = nk.capture(spec.in_small() if small else spec)
    found = []
    for numerics, options in (("exact", {}), ("float16", {"precision": "float16"})):
        try:
            plan = nk.plan(captured, "aoti", numerics=numerics.removesuffix("16"), device="cuda", **options)
        except nk.errors.NeurokitError as error:
            found.append({"model": name, "numerics": numerics, "error": str(error).splitlines()[0][:200]})
            continue
        kernels = collections.Counter(
            row.kernel if row.neurons or row.kernel == "depthwise" else SUMS for row in plan.layers
        )
        why = collections.Counter(
            row.reasons.get("spike_conv_lif", "") for row in plan.layers if row.kernel in ("", "lif")
        )
        found.append(
            {
                "model": name,
                "numerics": numerics,
                "kernels": {kernel or "plain": count for kernel, count in kernels.items()},
                "outside": dict(why),
            }
        )
    return found


def table(rows: list[dict[str, object]]) -> str:
    """Returns the rows as a Markdown table."""
    lines = [
        "| model | numerics | "
        + " | ".join(name if name == SUMS else f"`{name}`" for name in KERNELS)
        + " | no kernel |"
    ]
    lines.append("|---" * (len(KERNELS) + 3) + "|")
    for row in rows:
        kernels = row.get("kernels")
        if not isinstance(kernels, dict):
            lines.append(f"| {row['model']} | {row['numerics']} | {row['error']} |" + " |" * len(KERNELS))
            continue
        counts = [str(kernels.get(name, 0)) for name in (*KERNELS, "plain")]
        lines.append(f"| {row['model']} | {row['numerics']} | " + " | ".join(counts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Plans what is asked for and prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--small", action="store_true", help="the small twin of each model")
    parser.add_argument("--write", type=Path, help="page that holds the table")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name in arguments.models:
        rows += counted(name, arguments.small)
        print("\n".join(json.dumps(row) for row in rows[-2:]), flush=True)
    if arguments.write is None:
        print(table(rows))
        return
    page = arguments.write.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    arguments.write.write_text(f"{before}{_BEGIN}\n{table(rows)}\n{_END}{after}")


if __name__ == "__main__":
    main()

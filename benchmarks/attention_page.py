"""Writes the table of opponents into docs/language-models.md, from a record of `benchmarks/attention_opponents.py`.

python benchmarks/attention_page.py benchmarks/results/attention-opponents-h200.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "language-models.md"
START, END = "<!-- table: benchmarks/attention_page.py -->", "<!-- end opponents -->"
NAMES = {
    "sdpa": "SDPA, best backend",
    "flex_triton": "FlexAttention, Triton",
    "flex_flash": "FlexAttention, FLASH",
    "flashinfer": "flashinfer, variable blocks",
    "parallel_nsa": "parallel_nsa",
    "simple_gla": "simple_gla",
    "fused_recurrent": "fused_recurrent",
    "gather_sdpa": "gather and SDPA",
}


def rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yields what was run, density, our time, the opponent, its time, and how many times as long it takes."""
    for row in record["rows"]:
        ours = row.get("ours_ms", row.get("ours_with_selecting_ms"))
        if not isinstance(ours, float):
            continue
        both, selecting = row.get("ours_with_selecting_ms"), row.get("ours_selecting_ms")
        what = f"{row['part']}, {row['length']:,}" + ("" if "ours_ms" in row else ", selecting included")
        if isinstance(selecting, float) and isinstance(row.get("sdpa_ms"), float):
            whole = both if isinstance(both, float) else ours + selecting  # two medians of one run, added
            said = f"{row['sdpa_ms']:.3g}", f"{row['sdpa_ms'] / whole:.2f}"
            yield f"{what}, selecting included", "", f"{whole:.3g}", NAMES["sdpa"], *said
        density = f"{100 * row['density']:.0f} %" if "density" in row else ""
        for key, name in NAMES.items():
            found = row.get(f"{key}_ms")
            if isinstance(found, float):
                yield what, density, f"{ours:.3g}", name, f"{found:.3g}", f"{found / ours:.2f}"
            elif isinstance(found, str) and row["length"] == 65536:  # one row of a kind says why
                yield what, density, f"{ours:.3g}", name, found.split(": ")[-1], ""


def main() -> None:
    """Reads the record that is named, and writes the page."""
    record = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    head = ["| what, keys | density | ours, ms | beside | its ms | ratio |", "|---|---|---|---|---|---|"]
    lines = [START, f"{record['gpu']}, torch {record['torch']}; bfloat16, 32 heads, width 128.", "", *head]
    lines += ["| " + " | ".join(row) + " |" for row in rows(record)]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    PAGE.write_text(before + "\n".join([*lines, END]) + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes the rows by which the path of sparse attention is chosen, from a record of `benchmarks/attention.py`.

python benchmarks/attention_rows.py benchmarks/results/attention-h100.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from neurokit.kernels.attention_path import measured


def main() -> None:
    """Reads the record that is named and writes the rows beside the code that reads them."""
    record = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = json.dumps(measured.distilled(record), indent=1) + "\n"
    Path(measured.__file__).with_name(measured.FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

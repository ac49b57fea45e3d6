"""Runs by itself in the environment of litert-torch: converts PROGRAM.pt2 FILE.tflite pairs; says how in one line.

Nothing of neurokit is imported: that environment does not have it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings


def main(words: list[str]) -> None:
    """Converts every pair; prints a JSON object with "version" or "refused"."""
    warnings.simplefilter("ignore")
    from importlib.metadata import version

    import torch

    said = {"version": version("litert-torch")}
    noise = io.StringIO()
    with contextlib.redirect_stdout(noise):
        import litert_torch

        for source, out in zip(words[::2], words[1::2], strict=True):
            program = torch.export.load(source)
            given, _ = program.example_inputs
            try:
                litert_torch.convert(program.module(check_guards=False), given).export(out)
            except Exception as error:
                first = next((line for line in str(error).splitlines() if line.strip()), "")
                said = {"refused": f"{type(error).__name__}: {first[:300]}"}
                break
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1:])

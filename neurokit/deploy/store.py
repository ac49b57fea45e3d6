"""Results of steps, kept by what went into them: a step that is done is not repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurokit._version import __version__
from neurokit.atomic import write_text
from neurokit.errors import OutputError
from neurokit.plain import json_of

_MARK = "deploy.json"  # a folder that deploy may write into


class Store:
    """A folder of results.

    Attributes:
        folder: The folder.
        done: Steps that were done by this object.
        kept: Steps whose results were there.
    """

    def __init__(self, folder: Path, *, again: bool = False) -> None:
        self.folder, self.done, self.kept, self._again = folder, 0, 0, again

    def prepare(self) -> None:
        """Makes the folder.

        Raises:
            OutputError: If it holds something else, or cannot be written.
        """
        filled = self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir()))
        if filled and not (self.folder / _MARK).is_file():
            raise OutputError(
                f"{self.folder} exists and is no folder of neurokit deploy",
                expected="a new or empty folder, or one that deploy wrote",
                fix="choose another with --out",
            )
        try:
            (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made: {error.strerror}", fix="choose another place") from error
        write_text(self.folder / _MARK, json.dumps({"tool": f"neurokit {__version__}"}) + "\n")

    def step(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        work: Callable[[str], Any],
        usable: Callable[[Any], bool] = lambda result: True,
    ) -> Any:
        """Returns the result of a step: kept from an earlier run, else of `work`, which is then kept.

        Args:
            kind: What the step does.
            inputs: Everything that the result depends on, as JSON values; this version is added.
            work: Does the step; is given the key, and returns a JSON value.
            usable: Whether a kept result can still be used, as where its files are whole.
        """
        key = key_of(kind, inputs)
        place = self.folder / "steps" / f"{kind}-{key}.json"
        found = None if self._again else _read(place)
        if found is not None and usable(found["result"]):
            self.kept += 1
            return found["result"]
        result = work(key)
        held = {"kind": kind, "inputs": dict(inputs), "result": result, "sha256": _sum_of(result)}
        write_text(place, json.dumps(held, indent=1) + "\n")
        self.done += 1
        return result


def key_of(kind: str, inputs: Mapping[str, Any]) -> str:
    """Returns the key of a step: a sum over its kind, its inputs and the version."""
    plain = json.dumps([kind, __version__, inputs], sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _read(place: Path) -> dict[str, Any] | None:
    try:
        found = json_of(place)
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and "result" in found and found.get("sha256") == _sum_of(found["result"])
    return found if whole else None  # what was edited or damaged is done again


def _sum_of(result: Any) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()

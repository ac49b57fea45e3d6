"""The YAML of the SANA-FE simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurokit.errors import InputError, MissingRuntimeError
from neurokit.plain import text_of


def merged(given: Any) -> dict[str, Any]:
    """Returns attributes that are written as a mapping or as a list of mappings."""
    if isinstance(given, dict):
        return given
    merged: dict[str, Any] = {}
    for entry in given or []:
        merged |= entry
    return merged


def load(path: str | Path, section: str) -> Any:
    """Returns a section of a file; says what is wrong with it otherwise."""
    yaml = _yaml()
    try:
        data = yaml.safe_load(text_of(Path(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", expected="a SANA-FE .yaml file") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict) or section not in data:
        raise InputError(f"{path} has no section {section!r}", expected=f"a SANA-FE file with {section!r}")
    return data[section]


def dump(data: dict[str, Any]) -> str:
    """Returns data as YAML that SANA-FE reads."""
    return str(_yaml().safe_dump(data, sort_keys=False, default_flow_style=None, width=1 << 20))


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingRuntimeError("PyYAML is not installed", fix="pip install pyyaml") from error
    return yaml

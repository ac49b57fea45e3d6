"""A chip of another distribution: where its file is."""

from pathlib import Path

CHIP = Path(__file__).parent / "toychip.toml"

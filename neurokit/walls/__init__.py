"""Only Connect walls: sixteen clues, four groups of four, solved by an exported encoder and an exact clustering."""

"""The captured program: what every operation does, and walking over it."""

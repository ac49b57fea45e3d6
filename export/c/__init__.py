"""The exact form as C99: bounds of every value, operations as loops, one header and one source, runner and probe."""

"""Which heads of a language model do what: found from texts, written as lists, and texts scored by masking them."""

"""Shell completion, generated from the parser; only agents' names are read as somebody types."""

"""Shell completion, generated from the parser; only agents' names are asked for while somebody types."""

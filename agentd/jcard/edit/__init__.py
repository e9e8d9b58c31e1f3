"""Edits of a jcard that leave every other character as it is."""

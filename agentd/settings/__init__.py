"""Flags and environment of both commands, and what they resolve to."""

"""Transcripts: what every run printed, on disk, and reading it as a person saw it."""

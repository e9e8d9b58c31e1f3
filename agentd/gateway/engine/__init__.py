"""Runs: queued, started, followed, ended; and what clients may do."""

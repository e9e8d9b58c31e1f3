"""Launching a run: its script, its runtime directory, and what must be there before."""

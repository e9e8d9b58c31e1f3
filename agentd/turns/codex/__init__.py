"""Codex: the rollout file that its process has open. Tried with 0.169.0."""

"""Harnesses: how each coding agent's command line is built and stopped, and their registry."""

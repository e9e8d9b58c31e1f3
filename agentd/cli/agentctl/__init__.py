"""``agentctl``: the operator's client; it reads the status API and talks to tmux."""

from agentd.cli.agentctl.entry import main

__all__ = ["main"]

"""agentd: AI coding agents, supervised like services, in tmux."""

__version__ = "0.1.0"

"""tmux: the control-mode connection and typed operations."""

"""tmux and processes: the control-mode connection, the launcher, and what an agent left behind."""

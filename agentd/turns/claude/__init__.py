"""Claude Code: hooks, its status file, its session file. Tried with 2.1.197."""

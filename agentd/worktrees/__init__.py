"""Git worktrees of agents: created, recorded, inspected, removed without losing work."""

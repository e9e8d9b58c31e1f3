"""Processes: identity, /proc, orphans, usage, cgroups, and running small programs as the agent user."""

"""A long day of agentd: many agents of every kind, edits, rotated secrets, crashes, and figures that must stay flat."""

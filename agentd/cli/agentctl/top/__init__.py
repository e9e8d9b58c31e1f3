"""``agentctl top``: a live view of all agents, by textual."""

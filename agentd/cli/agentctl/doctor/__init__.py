"""``agentctl doctor``: whether this machine is ready for the agents that the jcard declares."""

"""What agentd-gateway adds to a turn, and what it bears."""

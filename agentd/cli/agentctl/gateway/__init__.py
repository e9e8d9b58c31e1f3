"""The client of agentd-gateway."""

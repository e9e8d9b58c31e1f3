"""What agentctl asks of a fleet, and shows of it."""

"""``agentctl service``: agentd as a service of systemd, of the system or of one user."""

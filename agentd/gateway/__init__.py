"""agentd-gateway: sessions, runs and the Responses API for clients far away. It launches nothing itself."""

"""Agents that speak the Agent Client Protocol: told of, and talked to, by the renderer in their pane (`agentd.acp`)."""

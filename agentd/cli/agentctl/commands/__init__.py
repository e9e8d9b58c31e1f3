"""The commands of ``agentctl``, one module each."""

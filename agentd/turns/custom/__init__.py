"""Programs that tell of their turns themselves, by the socket in ``AGENTD_HOOK``."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("thorough", settings.get_profile("agentd"), max_examples=1000, stateful_step_count=80)

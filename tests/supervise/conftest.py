from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("thorough", settings.get_profile("agentd"), max_examples=1000, stateful_step_count=80)
# The steps that CI takes with the machines: a quarter of a minute of CPU for 50 000 of them.
settings.register_profile(
    "model",
    settings.get_profile("agentd"),
    max_examples=800,
    stateful_step_count=80,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)

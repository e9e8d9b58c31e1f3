"""How many examples the properties that cost more than a second are tried with."""

from __future__ import annotations

from hypothesis import settings

DEFAULT_PROFILE = "agentd"
"""The profile of ``make test``; the others, of which each is for trying harder, keep the full number."""


def examples(beside_others: int, full: int = 100) -> settings:
    """Try fewer examples in ``make test``, where the property is one of 4000 tests, than with any other profile."""
    return settings(max_examples=beside_others if settings.get_current_profile_name() == DEFAULT_PROFILE else full)

"""How many examples a property is tried with."""

from __future__ import annotations

import os

from hypothesis import settings

DEFAULT_PROFILE = "agentd"
"""The profile of ``make test``; the others are for trying harder."""

EVERYDAY, FULL = 25, 100
"""Examples in ``make test``, where the property says nothing else; and with ``AGENTD_TEST_EFFORT=full``, as CI does.

With 100, the 95 properties took 17 s of CPU, more than any folder but two.
"""

ASKED_FOR = os.environ.get("AGENTD_TEST_EFFORT") == "full"


def full_effort() -> bool:
    """Whether to try hard: where that is asked for, and with any profile but ``make test``'s."""
    return ASKED_FOR or settings.get_current_profile_name() != DEFAULT_PROFILE


def examples(everyday: int, full: int = FULL) -> settings:
    """Try so many examples in ``make test``, and the full number where it is `full_effort`."""
    return settings(max_examples=full if full_effort() else everyday)

"""How hard the fuzzing tries: a little beside the other tests, for minutes with ``make fuzz``."""

from __future__ import annotations

from hypothesis import settings

from tests.conftest import FUZZ_PROFILE

DEEP = settings.get_current_profile_name() == FUZZ_PROFILE
"""Whether this is ``make fuzz``."""

_DEEPER = 50
"""Times as many examples; the whole of ``make fuzz`` then takes about ten minutes on two cores."""


def examples(number: int) -> settings:
    """Try that many examples beside the other tests, and 50 times as many with ``make fuzz``."""
    return settings(max_examples=number * (_DEEPER if DEEP else 1))

"""Cases that `make test` leaves to a step of CI."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def everyday(kept: Collection[object], cases: Iterable[object]) -> list[object]:
    """Mark as thorough the parameters of a test, all but the ones kept, that show the like of those."""
    return [case if case in kept else pytest.param(case, marks=pytest.mark.thorough) for case in cases]

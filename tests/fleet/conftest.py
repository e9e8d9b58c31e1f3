from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.ports import two_ports


@pytest.fixture
def port() -> Iterator[int]:
    """Where a head may listen: it takes the next one, too."""
    with two_ports() as first:
        yield first

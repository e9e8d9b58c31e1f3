"""Numbers for what agents ask, where their programs give it none."""

from __future__ import annotations

import time
from itertools import count


def request_numbers() -> count[int]:
    """Count from where no former daemon was: who answers a request of before must not decide another one."""
    return count(int(time.time() * 1000))

"""Whether OpenCode shows its home screen, where the next message begins another conversation. Pure.

``/new`` leads there, and nothing but the screen tells: the server sends no event, since there is no conversation yet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_BOX: Final = re.compile(r" *┃(?P<said> .*|$)")
_FLOOR: Final = re.compile(r" *╹▀{8,}")
"""What the input box stands on."""
_PLACEHOLDER: Final = re.compile(r"  Ask anything(…|\.\.\.) \"")
"""In the empty box of the home screen alone; that of a conversation has none."""


def is_home(rows: Sequence[str]) -> bool | None:
    """Say whether the input box is that of the home screen; ``None`` where no box is shown, as below a dialog.

    Where it holds a draft it is taken for a conversation's.
    """
    floor = max((at for at, row in enumerate(rows) if _FLOOR.match(row)), default=None)
    if floor is None:
        return None
    for row in reversed(rows[:floor]):
        inside = _BOX.match(row)
        if inside is None:
            return False
        if _PLACEHOLDER.match(inside["said"]):
            return True
    return False

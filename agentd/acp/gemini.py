"""What Gemini CLI needs before it is asked to go on with a session.

Its `session/load` begins a record of its own first, in a file named by the session and the minute. In the minute in
which the session began that is the session's file: it is emptied, and the session is lost (seen with 0.61.0).
"""

from __future__ import annotations

import asyncio
import glob
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NAME: Final = "gemini-cli"
"""What it calls itself."""

_LOOK: Final = 0.25


def would_be_lost(session: str, environment: Mapping[str, str], now: float) -> bool:
    """Whether Gemini CLI would empty a session by loading it now.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    home = environment.get("GEMINI_CLI_HOME") or environment.get("HOME") or str(Path.home())
    minute = time.strftime("%Y-%m-%dT%H-%M", time.gmtime(now))
    name = f"session-{minute}-{session[:8]}.jsonl"
    return any(Path(home, ".gemini", "tmp").glob(f"*/chats/{glob.escape(name)}"))


async def wait_until_safe(session: str, environment: Mapping[str, str]) -> None:
    """Wait for the minute's end, where that matters."""
    while would_be_lost(session, environment, time.time()):  # noqa: ASYNC110 (it waits for the clock)
        await asyncio.sleep(_LOOK)

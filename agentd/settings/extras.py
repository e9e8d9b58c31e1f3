"""What of agentd is installed apart."""

from __future__ import annotations

import shlex
import sys


def how_to_install(extra: str) -> str:
    """Write the command that installs an extra where this program runs: another pip would install it elsewhere."""
    return f"{shlex.quote(sys.executable)} -m pip install 'agentd[{extra}]'"

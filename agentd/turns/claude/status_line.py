"""Claude Code's status line: the only place where it says how much of its quota is used, and what it cost. Pure.

It is a command that Claude Code runs now and then with all that it knows on stdin, to show what it prints. Ours hands
that on, and prints what the user's own status line would, which it takes from the user's and the project's settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.text.quoting import shell_quote
from agentd.turns.fields import amount, mapping
from agentd.turns.hook_command import PATH
from agentd.turns.quota import QuotaWindow

EVENT: Final = "StatusLine"
"""What the socket for hooks is told."""

_SECONDS: Final = {"five_hour": 5 * 3600.0, "seven_day": 7 * 86400.0}

_PATIENCE: Final = 2
"""Seconds for agentd to answer."""

_CODE: Final = f"""import json,os,socket,sys
b=sys.stdin.buffer.read()
try:
 s=socket.socket(socket.AF_UNIX,socket.SOCK_STREAM)
 s.settimeout({_PATIENCE})
 s.connect(sys.argv[1])
 s.sendall(b"POST {PATH}{EVENT} HTTP/1.1\\r\\nHost: agentd\\r\\nContent-Length: %d\\r\\n\\r\\n"%len(b)+b)
 s.recv(1)
except OSError:pass
def of(f):
 try:
  with open(f,"rb") as o:return json.load(o)["statusLine"]["command"]
 except (OSError,ValueError,LookupError,TypeError):return None
try:p=json.loads(b)["workspace"]["project_dir"]
except (ValueError,LookupError,TypeError):p="."
h=os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
c=of(p+"/.claude/settings.local.json") or of(p+"/.claude/settings.json") or of(h+"/settings.json")
if isinstance(c,str):
 import subprocess
 sys.exit(subprocess.run(["/bin/sh","-c",c],input=b).returncode)
"""


def status_line(socket: str) -> dict[str, object]:
    """Give the setting.

    Parameters
    ----------
    socket
        Path of the daemon's socket for hooks.
    """
    python = Path(os.path.realpath(sys.executable))
    own = _words("-I", "-S", "-c", _CODE, socket)
    # The agents' user may not be let into the folder of our interpreter.
    line = f'p={_words(python)}; [ -x "$p" ] || p=python3; exec "$p" {own} 2>/dev/null'
    return {"type": "command", "command": line}


def _words(*words: str | Path) -> str:
    return os.fsdecode(b" ".join(map(shell_quote, words)))


def windows(body: Mapping[str, object]) -> tuple[QuotaWindow, ...]:
    """Read the quota out of what a status line is given; none if it says nothing of one."""
    limits = mapping(body, "rate_limits")
    found = []
    for name in limits:
        window = mapping(limits, name)
        used = amount(window, "used_percentage")
        if used is not None:
            found.append(QuotaWindow(name, used, _SECONDS.get(name), amount(window, "resets_at")))
    return tuple(found)


@dataclass(slots=True)
class Cost:
    """What a run costs: a status line is given the sum since the program's start, or since that of what it resumed."""

    told: float | None = None
    """The sum of what was told of already; ``None`` if that is not known: at the first look all is of turns before."""

    def more(self, body: Mapping[str, object]) -> float | None:
        """Give what came to it since the last look; ``None`` for nothing."""
        total = amount(mapping(body, "cost"), "total_cost_usd")
        if total is None:
            return None
        before, self.told = self.told, total
        return total - before if before is not None and total > before else None

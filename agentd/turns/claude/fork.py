"""A conversation of Claude Code that begins with what another one was up to a turn. Pure.

Measured with 2.1.197: ``--fork-session`` copies all of a conversation, and ``--resume-session-at`` counts only with
``--print``; but ``--resume`` takes any session file by its path, from whatever folder. So it is given a copy that ends
with the turn, made by the shell that then becomes Claude Code. A line of a later turn has another ``promptId``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentd.model.spec import ForkPoint

_COPY: Final = r"""
of_system() { (PATH=$PATH:/usr/bin:/bin:/run/current-system/sw/bin && exec "$@"); }
agentd_conversation=$1 agentd_turn=$2 agentd_copy=$3
shift 3
for agentd_each in "${CLAUDE_CONFIG_DIR:-$HOME/.claude}"/projects/*/"$agentd_conversation.jsonl"; do
  [ -f "$agentd_each" ] || continue
  agentd_umask=$(umask)
  umask 077
  of_system awk -v turn="$agentd_turn" '
    BEGIN { any = "\"promptId\":\""; own = any turn "\"" }
    turn != "" && index($0, own) { seen = 1 }
    seen && index($0, any) && !index($0, own) { exit }
    { print }
    END { exit (turn != "" && !seen) }' "$agentd_each" >"$agentd_copy" || break
  umask "$agentd_umask"
  exec "$@"
done
printf 'agentd: Claude Code has no conversation %s%s to fork\n' \
  "$agentd_conversation" "${agentd_turn:+ with a turn $agentd_turn}" >&2
exit 1
"""


def forking(point: ForkPoint, copy: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """Give the command line that makes the copy, then becomes Claude Code, which resumes it by its path."""
    return ("/bin/sh", "-c", _COPY, "sh", point.conversation, point.turn or "", os.fspath(copy), *argv)

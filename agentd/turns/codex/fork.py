"""A conversation of Codex that begins with what another one was up to a turn. Pure.

``codex fork`` copies all of it. A server of Codex's can end the copy with a turn (``thread/fork``), so one is asked by
its standard input before Codex itself starts, and goes on with the copy. Measured with 0.169.0: 0.1 s; the other
conversation's file is only read, and may be one that another server is at work on; without ``cwd`` the copy belongs to
the other one's folder; a server whose input ends leaves, without the answer to what it has just been asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from agentd import __version__
from agentd.model.spec import ForkPoint

FORKED: Final = "\0fork"
"""Stands in a command line for the id of the copy."""


def requests(point: ForkPoint, workdir: Path) -> tuple[str, ...]:
    """Give what the server is asked, a line each; the last is number 1."""
    about = {"clientInfo": {"name": "agentd", "title": "agentd", "version": __version__}}
    fork: dict[str, object] = {"threadId": point.conversation, "cwd": str(workdir), "excludeTurns": True}
    if point.turn is not None:
        fork["lastTurnId"] = point.turn
    asked = (
        {"id": 0, "method": "initialize", "params": {**about, "capabilities": {"experimentalApi": True}}},
        {"method": "initialized"},
        {"id": 1, "method": "thread/fork", "params": fork},
    )
    return tuple(map(json.dumps, asked))


# A codex that cannot be started closes the pipe: that must not end the shell.
FORK: Final = rb"""agentd_asks=@SOCKET@.up agentd_answers=@ANSWERS@
agentd_umask=$(umask)
umask 077
of_system rm -f "$agentd_asks"
of_system mkfifo "$agentd_asks"
trap '' PIPE
(trap - PIPE; exec @CODEX@ app-server @SERVER_OPTIONS@ <"$agentd_asks" >"$agentd_answers" 2>/dev/null) &
agentd_server=$!
exec 4>"$agentd_asks"
of_system rm -f "$agentd_asks"
umask "$agentd_umask"
printf '%s\n' @REQUESTS@ >&4
agentd_looks=0
until of_system grep -Eq '^\{"id":1,|"id":1\}$' "$agentd_answers" || ! kill -0 $agentd_server 2>/dev/null; do
  agentd_looks=$((agentd_looks + 1))
  [ $agentd_looks -lt 400 ] || kill $agentd_server
  of_system sleep 0.05
done
exec 4>&-
wait $agentd_server
trap - PIPE
agentd_thread=$(of_system sed -n 's/^{"id":1,"result":{"thread":{"id":"\([0-9A-Za-z-]*\)".*/\1/p' "$agentd_answers")
if [ -z "$agentd_thread" ]; then
  printf 'agentd: Codex did not fork the conversation: ' >&2
  of_system grep -E '"id":1\}$' "$agentd_answers" >&2 || printf 'it did not answer\n' >&2
  exit 1
fi
"""

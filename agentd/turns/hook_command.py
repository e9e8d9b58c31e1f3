"""The command that a harness runs as a hook: posts what it is given to the daemon's socket, and prints the answer.

It is silent, and succeeds, whatever happens: an agentd that is down must cost an agent nothing. It takes 10 ms of CPU,
curl takes 8; but curl is not everywhere, and the interpreter that runs agentd is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agentd.text.quoting import shell_quote

LONGEST_HOLD = 3600
"""Seconds for which a hook waits for its answer at most."""

PATH = "/v1/hook/"
"""Of the requests, before the event's name."""

AGAIN = "?again"
"""Behind the event's name, where the daemon that was asked first is not there any more."""

_PAUSE = 0.5
"""Seconds before it is asked again."""

# Nothing is imported but what is built in.
_CODE = f"""import posix,sys,time
import _socket
def ask(p):
 s=_socket.socket(_socket.AF_UNIX,_socket.SOCK_STREAM)
 s.settimeout({LONGEST_HOLD})
 r=b""
 try:
  s.connect(sys.argv[1])
  h="POST {PATH}%s HTTP/1.1\\r\\nHost: agentd\\r\\nContent-Length: %d\\r\\n\\r\\n"%(p,len(b))
  s.sendall(h.encode()+b)
  while d:=s.recv(1<<16):r+=d
 except OSError:pass
 s.close()
 return r
b=b""
while d:=posix.read(0,1<<16):b+=d
r=ask(sys.argv[2])
e=time.monotonic()+{LONGEST_HOLD}
while not r and len(sys.argv)>3 and time.monotonic()<e:
 time.sleep({_PAUSE})
 r=ask(sys.argv[2]+"{AGAIN}")
posix.write(1,r.partition(b"\\r\\n\\r\\n")[2])
"""


def hook_command(socket: str, event: str, *, persists: bool = False) -> str:
    """Write the shell command for one event.

    Parameters
    ----------
    socket
        Path of the daemon's socket for hooks.
    event
        The event's name, as the harness calls it.
    persists
        Whether it asks again, and again, while agentd is away: the agent waits for the answer.
    """
    python = Path(os.path.realpath(sys.executable))
    url = f"http://agentd{PATH}{event}"
    own = _words(python, "-I", "-S", "-c", _CODE, socket, event, *(["persists"] if persists else []))
    curl = _words("curl", "-s", "-m", str(LONGEST_HOLD), "--unix-socket", socket, "--data-binary", "@-", url)
    # The agents' user may not be let into the folder of our interpreter.
    return f"if [ -x {_words(python)} ]; then exec {own} 2>/dev/null; else {curl} 2>/dev/null || :; fi"


def _words(*words: str | Path) -> str:
    return os.fsdecode(b" ".join(map(shell_quote, words)))

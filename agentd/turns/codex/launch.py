"""What is added to a launch of Codex that stays: its own server, which its terminal program is a client of. Pure.

Measured with 0.169.0: ``codex --remote`` passes on the options of its command line (model, approvals, sandbox, ``-c``,
profile, search), but refuses ``--add-dir``, ``--worktree`` and ``--no-daemon``. It makes its own conversation, which is
there for others once the first message was taken; before, ``resume`` does not find it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from agentd.harness.additions import Additions, LaunchFacts
from agentd.text.quoting import shell_quote
from agentd.turns.codex.fork import FORK, FORKED, requests

HOME: Final = "home"
"""In the memo: Codex's own folder."""

RESUMED: Final = "resume"
"""In the memo, the conversation that it goes on with; also Codex's command for that."""

SERVER: Final = "server"
"""In the memo, path of the server's socket, if there is to be one."""

_REMOTE: Final = ("--remote", "--remote-auth-token-env")
_LOCAL: Final = (*_REMOTE, "--add-dir", "--worktree", "--oss", "--local-provider")
"""Options that only a terminal program without our server takes."""

_PERMISSIONS: Final = (
    *("-a", "--ask-for-approval", "-s", "--sandbox", "--full-auto"),
    *("--dangerously-bypass-approvals-and-sandbox", "--yolo"),
)
"""Options that a client of a server takes for a new conversation only: with ``resume`` it ends with status 1."""

_NO_DAEMON: Final = "--no-daemon"
"""Keeps Codex from sharing a server of its own; with ours it is refused."""

_NUDGE: Final = "hide_rate_limit_model_nudge"
_NO_OFFER: Final = ("-c", f"notice.{_NUDGE}=true")
"""Keeps Codex from opening a dialog near a limit that offers another model, below which nothing can be typed: the
setting of its configuration that its own "never show again" makes."""

_COMMANDS: Final = frozenset(
    (
        *("agents", "exec", "e", "review", "login", "logout", "mcp", "plugin", "app-server", "remote-control"),
        *("completion", "update", "doctor", "sandbox", "debug", "apply", "a", "queue", "archive", "delete"),
        *("migrate-rollouts", "migrate-nfs-db", "unarchive", "cloud", "exec-server", "features", "help"),
    )
)
"""Those that are no conversation; what merely looks like one costs the server."""

_NAMING: Final = _COMMANDS | {RESUMED, "fork"}
"""Those after which a conversation cannot be named."""

_OF_BOTH: Final = ("-c", "--config", "--enable", "--disable")
"""Options with a value that the server is given, too: some settings are those of the process."""


def additions(facts: LaunchFacts) -> Additions:
    """Have the terminal program talk to a server of the run's own, and go on with a conversation, if one is named."""
    argv = facts.argv
    home = facts.environment.get("CODEX_HOME")
    memo = {HOME: home} if home and home.startswith("/") else {}
    if not facts.stays or not argv:
        return Additions(argv, memo=memo)
    if not _COMMANDS.intersection(_options(argv)) and not any(_NUDGE in word for word in _options(argv)):
        argv = (argv[0], *_NO_OFFER, *argv[1:])
    forks = facts.fork is not None and not _NAMING.intersection(_options(argv))
    resumes = facts.resume is not None or forks or RESUMED in _options(argv)
    served = _may_be_served(argv) and not (resumes and _has(argv, _PERMISSIONS))
    if not served and _may_share(argv):
        argv = (argv[0], _NO_DAEMON, *argv[1:])
    if forks:
        argv = (argv[0], RESUMED, FORKED, *argv[1:])
    elif facts.resume is not None and RESUMED not in argv:
        argv = (argv[0], RESUMED, facts.resume, *argv[1:])
        memo[RESUMED] = facts.resume
    if served:
        memo[SERVER] = os.fspath(facts.socket)
    elif not forks:
        return Additions(argv, memo=memo)
    return Additions(
        ("/bin/sh", os.fspath(facts.file)), file=_script(argv, facts, served=served), memo=memo, forks=forks
    )


def _may_be_served(argv: Sequence[str]) -> bool:
    return not _COMMANDS.intersection(_options(argv)) and not _has(argv, _LOCAL)


def _may_share(argv: Sequence[str]) -> bool:
    """Whether nothing keeps it from sharing a server that outlasts it, and that may be forbidden."""
    return not _COMMANDS.intersection(_options(argv)) and not _has(argv, (*_REMOTE, _NO_DAEMON))


def _has(argv: Sequence[str], options: Sequence[str]) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in _options(argv) for option in options)


def _options(argv: Sequence[str]) -> Sequence[str]:
    """The words behind the program and before ``--``, behind which stands the prompt."""
    words = argv[1:]
    return words[: words.index("--")] if "--" in words else words


def _server_options(argv: Sequence[str]) -> list[str]:
    words, found = _options(argv), list[str]()
    for index, word in enumerate(words):
        if word in _OF_BOTH:
            found += words[index : index + 2]
        elif word.startswith(("-c", *(f"{option}=" for option in _OF_BOTH))) and word != "-c":
            found.append(word)
    return found


def _script(argv: Sequence[str], facts: LaunchFacts, *, served: bool) -> bytes:
    options = _options(argv)
    remote = [*(word for word in options if word != _NO_DAEMON), *argv[1 + len(options) :]]
    names = {
        b"CODEX": shell_quote(argv[0]),
        b"DECLARED": _words(argv),
        b"SERVER_OPTIONS": _words(_server_options(argv)),
        b"SOCKET": shell_quote(os.fspath(facts.socket)),
        b"ADDRESS": shell_quote(f"unix://{facts.socket}"),
        b"ARGUMENTS": _words(remote),
        b"START": _BY_JOBS if facts.home_inside is None else _BY_SESSIONS,
    }
    parts = [_COMMON, *((_PARTS,) if served else ()), *((_PART,) if served and facts.home_inside is not None else ())]
    if facts.fork is not None:
        parts.append(FORK)
        names |= {
            b"ANSWERS": shell_quote(os.fspath(facts.copy)),
            b"REQUESTS": _words(requests(facts.fork, facts.workdir)),
        }
    parts.append(_SERVED if served else b"declared\n")
    return re.sub(rb"@([A-Z_]+)@", lambda place: names[place[1]], b"".join(parts))


def _words(words: Sequence[str]) -> bytes:
    return b" ".join(b'"$agentd_thread"' if word is FORKED else shell_quote(word) for word in words)


# The process that agentd watches becomes the terminal program. What ends the server with it, however it ends, is a FIFO
# that it holds open: the end of that file. While its name is there, the server has not come up yet. The server is in a
# process group of its own, which C-c at the terminal does not reach; it is not started by "&" itself, since a shell has
# what it starts so ignore C-c, and the agent's tools would inherit that. What npm installs as codex is a script that
# starts the program for this machine, so that is looked for. Where there is none, as behind a script of the user's, and
# where it knows no server, all is as declared. What serves the agent is told from tools that still run by a pipe as its
# input and output (`agentd.process.background`); a short document is one. A first interrupt lets the server finish its
# turn, a second one ends it.
_COMMON: Final = rb"""declared() { exec @DECLARED@; }
of_system() { (PATH=$PATH:/usr/bin:/bin:/run/current-system/sw/bin && exec "$@"); }
"""
_PARTS: Final = rb"""
agentd_up=@SOCKET@.up
serve() {
  agentd_pause=1
  while :; do
    "$agentd_program" app-server @SERVER_OPTIONS@ --listen @ADDRESS@
    [ -p "$agentd_up" ] && of_system rm -f "$agentd_up" && exit
    of_system sleep $agentd_pause
    [ $agentd_pause -gt 60 ] || agentd_pause=$((agentd_pause * 2))
  done
}
end_server() {
  of_system cat -- "$agentd_up"
  for agentd_signal in INT INT KILL; do
    kill -$agentd_signal -$agentd_server || exit
    of_system sleep 1
  done
}
"""
_BY_JOBS: Final = rb"""set -m 2>/dev/null
case $- in *m*) ;; *) declared ;; esac
(serve) <<end >&0 2>&0 &
nothing
end
agentd_server=$!
(end_server) <<end >&0 2>&0 &
nothing
end
agentd_ends=$!
set +m
"""
# In a sandbox dash ends at "set +m": the group that had the terminal before has no number there.
_BY_SESSIONS: Final = rb"""find_program() { PATH=$PATH:/usr/bin:/bin:/run/current-system/sw/bin && command -v "$1"; }
agentd_setsid=$(find_program setsid) && agentd_env=$(find_program env) || declared
"$agentd_setsid" "$agentd_env" --default-signal=INT,QUIT /bin/sh "$0" serve "$agentd_program" <<end >&0 2>&0 &
nothing
end
agentd_server=$!
"$agentd_setsid" /bin/sh "$0" end_server "$agentd_program" $agentd_server <<end >&0 2>&0 &
nothing
end
agentd_ends=$!
"""
_PART: Final = rb"""if [ $# -gt 0 ]; then
  agentd_program=$2 agentd_server=$3
  "$1"
  exit
fi
"""
_SERVED: Final = rb"""
agentd_program=$(command -v @CODEX@) && agentd_program=$(of_system readlink -f -- "$agentd_program") || declared
case $agentd_program in */bin/codex.js)
  agentd_package=${agentd_program%/bin/codex.js} agentd_program=
  for agentd_each in "$agentd_package"/node_modules/?openai/codex-*/vendor/*/bin/codex \
    "$agentd_package"/../codex-*/vendor/*/bin/codex "$agentd_package"/vendor/*/bin/codex; do
    [ -x "$agentd_each" ] && agentd_program=$agentd_each && break
  done
  [ -z "$agentd_program" ] || export CODEX_MANAGED_BY_NPM=1
esac
case $(of_system head -c 4 -- "$agentd_program" 2>/dev/null) in *ELF) ;; *) declared ;; esac
case $("$agentd_program" --help 2>/dev/null </dev/null) in *unix://PATH*) ;; *) declared ;; esac
of_system rm -f @SOCKET@ "$agentd_up"
of_system mkfifo -m 600 "$agentd_up" || declared
@START@agentd_looks=0
until [ -S @SOCKET@ ]; do
  agentd_looks=$((agentd_looks + 1))
  if [ $agentd_looks -gt 200 ] || ! [ -p "$agentd_up" ]; then
    kill -KILL -$agentd_server -$agentd_ends 2>/dev/null
    of_system rm -f "$agentd_up"
    declared
  fi
  of_system sleep 0.05
done
exec 3>"$agentd_up"
of_system rm -f "$agentd_up"
exec "$agentd_program" --remote @ADDRESS@ @ARGUMENTS@
"""

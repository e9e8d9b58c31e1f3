"""From what an agent may read, write and reach to a bundle for gVisor's runsc. Pure.

runsc runs as the agents' user, in the foreground of the pane. For that it needs a user namespace in which that user is
root; in it, the launcher first makes a mount namespace of the run's own, with a file system in memory over the folder
of the bundle. There stand the bundle, runsc's state and the root of the sandbox, an empty folder: nobody outside sees
them, and they are gone with the run. What was looked at is mounted there, too, and compared, before runsc shows it.

In the sandbox the agent takes its own user id again, by a user namespace of gVisor's.

Source: the OCI runtime specification 1.0 (config.md, config-linux.md), `runsc help run`, unshare(1).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.launch.launcher import INPUT_FD, READY, TERMINAL_FD, LaunchScript
from agentd.model.user import AgentUser
from agentd.sandbox.compose import Composed
from agentd.sandbox.rules import Access, Rule, mounts
from agentd.sandbox.support import Support
from agentd.text.quoting import shell_quote

NEEDED: Final = "20240101"
"""The first day of the releases that are taken. Debian 12 has 20221219, which has only the slow ptrace, reads folders
wrongly and passes no descriptor on."""

RUNSC: Final = "runsc"
"""Name of the program, and so of its processes."""

_DATED: Final = re.compile(r"\b(?:release-|0\.0[~.])?(20[0-9]{6})\b", re.ASCII)
_CAPABILITIES: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")
_READY_FD: Final = 3
"""What says in the sandbox that it was made."""
_SAID_FD, _LOG_FD = 5, 8
"""The same outside, and what runsc writes its log to: a copy of what it was fed, which is of no more use then."""
_MOST_FILES: Final = 1 << 20
"""Hard limit of open files in a sandbox; the soft one is as outside."""

Mount = dict[str, str | list[str]]
"""As the OCI runtime specification has it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What sandboxes are made with."""

    runsc: str
    unshare: str
    path: str
    """Where the other programs are that make a sandbox: agentd's own PATH."""
    folder: Path
    """What each run has its bundle mounted over, unseen from outside."""
    state: Path | None
    """The same for runsc's state; ``None`` to have it beside the bundle."""
    user: AgentUser


@dataclass(frozen=True, slots=True)
class GVisor:
    """One agent's sandbox by gVisor."""

    tools: Tools
    support: Support
    composed: Composed

    def fed(self, script: LaunchScript, /) -> bytes:
        """Print the bundle's ``config.json``, with the terminal's name and the umask that only the launcher knows.

        Raises
        ------
        ValueError
            If a word or a variable is not UTF-8, as JSON must be, or contains NUL.
        """
        environment = {name: value for name, value in script.environment.items() if name != "TERM"}
        process = {
            "terminal": True,
            "args": ["/bin/sh", "-c", self._inside(), "agentd", *script.argv],
            "cwd": str(self.composed.sandbox.workdir),
            "capabilities": {name: [] for name in _CAPABILITIES},
            "noNewPrivileges": True,
            "rlimits": [*self._limits(script)],
        }
        config = {
            "ociVersion": "1.0.0",
            "root": {"path": str(self.tools.folder / "root"), "readonly": True},
            "hostname": os.uname().nodename,
            "mounts": [*self._mounts()],
            "linux": {},
        }
        term = script.environment.get("TERM")
        pieces: tuple[bytes, ...] = (
            shell_quote('{"process":{"user":{"uid":0,"gid":0,"umask":'),
            b'"$((0$mask))"',
            shell_quote('},"env":["TERM='),
            b'"$TERM"' if term is None else shell_quote(_json(term)[1:-1]),
            shell_quote(
                f'"{"".join("," + _json(f"{name}={value}") for name, value in environment.items())}],'
                f"{_json(process)[1:-1]}}},{_json(config)[1:-1]}}}"
            ),
        )
        return b"%s%s%s%s%s'\\n' " + b" ".join(pieces)

    def command(self, script: LaunchScript, /) -> bytes:
        """Make the run's own file system, look at what is mounted there, and have runsc execute the agent."""
        folder, state = shell_quote(self.tools.folder), self.tools.state
        pinned = self.composed.pinned
        names = [f"{index}" for index, _ in enumerate(pinned.paths)]
        making = b"\n".join(
            (
                _MAKE % {b"path": shell_quote(self.tools.path), b"folder": folder, b"input": b"%d" % INPUT_FD},
                *(_LINK % (shell_quote(target), shell_quote(name)) for name, target in self.support.links),
                *(
                    _BIND % {b"from": shell_quote(path), b"to": name.encode()}
                    for path, name in zip(pinned.paths, names, strict=True)
                ),
                os.fsencode(pinned.check(names)),
                b"" if state is None else b"mount -t tmpfs -o mode=0700 agentd " + shell_quote(state),
                # gVisor suspends the agent at C-z, and nobody would be there to have it go on.
                b"stty susp undef 2>/dev/null || :",
                # Of the first three descriptors runsc takes any for the agent's terminal, and uses it for all of them.
                b'cd / && exec "$@" %d>&2 %d>>/proc/self/fd/%d 2>&%d %d>&- %d<&-'
                % (_SAID_FD, _LOG_FD, INPUT_FD, TERMINAL_FD, TERMINAL_FD, INPUT_FD),
            )
        )
        runsc = (
            *(self.tools.runsc, "--rootless", "--ignore-cgroups", "--overlay2=none", "--log-fd", str(_LOG_FD)),
            f"--network={'host' if self.composed.sandbox.network else 'none'}",
            *("--root", str(state or self.tools.folder / "state"), "run", "--bundle", str(self.tools.folder)),
            *("--pass-fd", f"{_SAID_FD}:{_READY_FD}", script.run_id),
        )
        words: list[str | bytes] = [self.tools.unshare, "--user", "--map-root-user", "--mount"]
        words += ["/bin/sh", "-c", making, "agentd", *runsc]
        return b" ".join(map(shell_quote, words))

    def processes(self, limit: int, /) -> int:
        """Those of gVisor, which itself holds the agent to its limit."""
        return processes_beside(limit)

    def trial(self, _script: LaunchScript, /) -> bytes:
        """Say what runsc has logged last, behind what it was fed: it makes the sandbox at most once."""
        return _LOGGED % INPUT_FD

    def _inside(self) -> str:
        user, links = self.tools.user, [rule for rule in self.composed.sandbox.rules if rule.access is Access.LINK]
        made = "\n".join(
            f"mkdir -p {_quoted(rule.path.parent)} && ln -s {_quoted(rule.source or rule.path)} {_quoted(rule.path)}"
            for rule in links
        )
        unshare, ids = _quoted(self.tools.unshare), f"--map-user={user.uid} --map-group={user.gid}"
        return (
            f"(\nPATH=$PATH:/usr/bin:/bin\n{made}\n)\n"
            f"echo {READY} >&{_READY_FD}\n"
            f'[ ! -x {unshare} ] || set -- {unshare} --user {ids} -- "$@"\n'
            f'exec "$@" {_READY_FD}>&-\n'
        )

    def _limits(self, script: LaunchScript) -> Iterator[dict[str, str | int]]:
        if script.open_files is not None:
            soft = script.open_files
            yield {"type": "RLIMIT_NOFILE", "soft": soft, "hard": max(soft, _MOST_FILES)}
        most = self.composed.pid_limit
        if most is not None:
            # The host's group counts gVisor's own threads, and who outgrows that is ended as a whole.
            yield {"type": "RLIMIT_NPROC", "soft": most, "hard": most}

    def _mounts(self) -> Iterator[Mount]:
        shown = [Rule(path, Access.READ) for path in self.support.top]
        for rule in mounts((*shown, *self.composed.sandbox.rules)):
            match rule.access:
                case Access.EMPTY:
                    yield _memory(rule.path, "mode=0755")
                case Access.HIDDEN:
                    yield _memory(rule.path, "mode=0555", "ro")
                case Access.PROCESSES:
                    yield {"destination": str(rule.path), "type": "proc", "source": "proc"}
                case Access.READ | Access.WRITE:
                    source = self._mounted(rule.source or rule.path)
                    yield _bind(rule.path, source, "ro" if rule.access is Access.READ else "rw")
                case Access.HIDDEN_FILE:
                    yield _bind(rule.path, self.tools.folder / "empty", "ro")
                case Access.DEVICES | Access.LINK:
                    # gVisor makes its own /dev; links are made in the sandbox.
                    continue

    def _mounted(self, source: Path) -> Path:
        """Where something is that was looked at: the mount of it that was compared."""
        around = [
            (len(path.parts), index, path)
            for index, path in enumerate(map(Path, self.composed.pinned.paths))
            if path == source or path in source.parents
        ]
        if not around:
            return source
        _, index, path = max(around)
        return self.tools.folder / f"{index}" / source.relative_to(path)


def processes_beside(limit: int) -> int:
    """Give how many processes and threads gVisor needs on the host for so many in it.

    Found were 58, and two more for each process; a thread in it needs none.
    """
    return 128 + 2 * limit


def version_of(said: str) -> str | None:
    """Find the day of a release, as YYYYMMDD, in what ``runsc --version`` prints."""
    found = _DATED.search(said)
    return None if found is None else found[1]


def _memory(path: Path, *options: str) -> Mount:
    return {"destination": str(path), "type": "tmpfs", "source": "tmpfs", "options": [*options]}


def _bind(path: Path, source: Path, access: str) -> Mount:
    return {"destination": str(path), "type": "bind", "source": str(source), "options": ["rbind", access]}


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("an argument or a variable is not UTF-8, as gVisor needs it to be") from None
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("an argument or a variable contains NUL")
    return text


def _quoted(path: str | Path) -> str:
    return os.fsdecode(shell_quote(path))


_MAKE = b"""set -e
umask 077
PATH=%(path)s
mount -t tmpfs -o mode=0700 agentd %(folder)s
cd %(folder)s
mkdir root state
cat <&%(input)s >config.json
: >empty
chmod 0 empty"""
_LOGGED = b"""while read -r line || [ -n "$line" ]; do
  case $line in '{"msg":"'*) said=${line#'{"msg":"'};; esac
done <&%d
printf '%%s\\n' "${said%%%%'","level"'*}" >&2"""
_LINK = b"ln -s -- %s root%s"
_BIND = b"""if [ -d %(from)s ]; then mkdir %(to)s; else : >%(to)s; fi
mount --rbind -- %(from)s %(to)s"""

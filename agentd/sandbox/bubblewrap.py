"""From what an agent may read, write and reach to the command line of bubblewrap. Pure.

Source: bwrap(1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.launch import pipes
from agentd.launch.launcher import INPUT_FD, READY, TERMINAL_FD, LaunchScript
from agentd.sandbox.pinned import Pinned
from agentd.sandbox.rules import Access, Rule, Sandbox, mounts
from agentd.text.quoting import shell_quote

PROCESSES: Final = 2
"""Of bubblewrap itself, beside those of the agent."""
_INFO_FD, _GATE_FD = 6, 8


@dataclass(frozen=True, slots=True)
class Gate:
    """Keeps the agent waiting until somebody listens for it: it would see its first connection refused."""

    pipes: Path
    """What the paths of the run's FIFOs begin with."""
    timeout: str
    """Path of timeout(1), in the sandbox."""
    head: str
    """Path of head(1), in the sandbox."""

    def redirections(self) -> bytes:
        """Open the FIFOs: for both, so that it never waits for who opens the other end."""
        opened = ((_INFO_FD, pipes.NETWORK_SUFFIX), (_GATE_FD, pipes.READY_SUFFIX))
        return b"".join(b" %d<>%s" % (fd, shell_quote(f"{self.pipes}{suffix}")) for fd, suffix in opened)

    def wait(self) -> str:
        """Wait, in the sandbox."""
        return _WAIT.format(timeout=self.timeout, head=self.head, fd=_GATE_FD, limit=pipes.LIMIT, ready=pipes.READY)


_WAIT = """AGENTD_NETWORK=$({timeout} {limit} {head} -n 1 <&{fd})
exec {fd}<&-
[ "$AGENTD_NETWORK" = {ready} ] || {{
  echo "its network: ${{AGENTD_NETWORK:-the proxy did not answer within {limit} s}}" >&2
  exit 1
}}
unset -v AGENTD_NETWORK
"""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """One agent's sandbox by bubblewrap.

    C-c and a SIGTERM to the process group reach all in it, as they would without a sandbox, and must end neither
    bubblewrap, which would kill the agent, nor its first process. So all ignore these signals but the agent, for which
    env takes the default up again, which no POSIX shell can.
    """

    sandbox: Sandbox
    program: str
    """Path of bubblewrap."""
    syscall_filter: bytes = field(repr=False)
    env: str
    """Path of env(1), in the sandbox, with ``--default-signal``."""
    pinned: Pinned
    gate: Gate | None = None
    """What it waits at, if somebody outside is to serve its loopback interface."""

    def fed(self, _script: LaunchScript, /) -> bytes:
        """Print the filter of system calls."""
        return b"'" + "".join(f"\\{byte:03o}" for byte in self.syscall_filter).encode() + b"'"

    def command(self, script: LaunchScript, /) -> bytes:
        """Make the sandbox, look at what is mounted, and execute the agent in it."""
        inside = _INSIDE.format(
            check=self.pinned.check(self.pinned.paths) + ("" if self.gate is None else self.gate.wait()),
            ready=READY,
            env=self.env,
            terminal=TERMINAL_FD,
        )
        words = (*arguments(self.sandbox, self.program), "/bin/sh", "-c", inside, "agentd", *script.argv)
        opened = b"" if self.gate is None else self.gate.redirections()
        return b" ".join(map(shell_quote, words)) + b" %d>&2 2>/dev/null" % _SAID_FD + opened

    def processes(self, _limit: int, /) -> int:
        """Two of bubblewrap's own."""
        return PROCESSES

    def trial(self, _script: LaunchScript, /) -> bytes:
        """Make the sandbox, and look at what is mounted."""
        words = (*arguments(self.sandbox, self.program), "/bin/sh", "-c", self.pinned.check(self.pinned.paths) + ":")
        opened = b"" if self.gate is None else b" %d>/dev/null" % _INFO_FD
        return b"exec " + b" ".join(map(shell_quote, words)) + opened


_SAID_FD: Final = 5
"""What is said goes here, and not to the standard error: that of its first process stays open, in sight of the agent,
who would open a file of agentd's again by it. So bubblewrap itself says nothing; a trial tells what went wrong."""
_INSIDE = f"""exec 2>&{_SAID_FD} {_SAID_FD}>&-
{{check}}echo {{ready}} >&2
exec {{env}} --default-signal=INT,QUIT,TERM "$@" 2>&{{terminal}} {{terminal}}>&-
"""


def options(rule: Rule) -> tuple[str, ...]:
    """Write a rule as options of bubblewrap."""
    path, source = str(rule.path), str(rule.source or rule.path)
    match rule.access:
        case Access.EMPTY:
            return "--tmpfs", path
        case Access.PROCESSES:
            return "--proc", path
        case Access.DEVICES:
            return "--dev", path
        case Access.READ:
            return "--ro-bind", source, path
        case Access.WRITE:
            return "--bind", source, path
        case Access.LINK:
            return "--symlink", source, path
        case Access.HIDDEN:
            return "--tmpfs", path, "--remount-ro", path
        case Access.HIDDEN_FILE:
            # Bound without the right to open devices: not even readable as the empty file that it is.
            return "--ro-bind", "/dev/null", path


def arguments(sandbox: Sandbox, program: str) -> tuple[str, ...]:
    """Write the command line of bubblewrap, up to where the command to run follows.

    Parameters
    ----------
    program
        Path of bubblewrap.
    """
    return (
        program,
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *(() if sandbox.network else ("--unshare-net",)),
        *(("--info-fd", str(_INFO_FD)) if sandbox.proxied else ()),
        *("--die-with-parent", "--cap-drop", "ALL", "--seccomp", str(INPUT_FD)),
        *("--ro-bind", "/", "/"),
        *(option for rule in mounts(sandbox.rules) for option in options(rule)),
        *("--chdir", str(sandbox.workdir), "--"),
    )

"""An agent that uses up what it is told to, within a bound of its own. Needs the standard library alone.

It does what its terminal says, a line each, and writes what came of it into ``said-N`` in its workdir:
``eat MEBIBYTES``, ``child MEBIBYTES`` (a child eats), ``fork COUNT``, ``hide`` (a process without environment, parents
and session), ``exit STATUS``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

BOUND = 256


def eat(mebibytes: int) -> None:
    """Take memory in steps."""
    _ = [b"x" * (1 << 20) for _ in range(min(mebibytes, BOUND))]


def child(mebibytes: int) -> str:
    """Have a child take memory, and say how it ended."""
    pid = os.fork()
    if pid == 0:
        eat(mebibytes)
        os._exit(0)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def fork(count: int) -> str:
    """Start processes, and say how many could be."""
    children = []
    try:
        for _ in range(min(count, BOUND)):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    except BlockingIOError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return str(len(children))


def hide() -> str:
    """Start a process that nothing but its control group shows to be the run's."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            os.chdir("/")
            for descriptor in (0, 1, 2):
                os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
            os.execve("/bin/sleep", ["sleep", "600"], {})  # noqa: S606 (as an agent may)
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    # The other end is closed by the other program.
    said = b""
    while some := os.read(reader, 32):
        said += some
    return said.decode()


def main() -> None:
    """Follow the terminal."""
    for number, line in enumerate(sys.stdin):
        word, _, argument = line.strip().partition(" ")
        said = ""
        if word == "eat":
            eat(int(argument))
        elif word == "child":
            said = child(int(argument))
        elif word == "fork":
            said = fork(int(argument))
        elif word == "hide":
            said = hide()
        elif word == "exit":
            sys.exit(int(argument))
        part = Path(f".said-{number}")
        part.write_text(said, encoding="ascii")
        part.rename(f"said-{number}")


main()

"""A scripted agent that does what well-behaved programs never do.

Run as a script, with the standard library of any Python from 3.9 on. What it is asked to do happens in this order:
signal handlers, ``--only-one``, ``--record``, ``--grandchildren``, ``--print``, ``--flood``, ``--ready``, then waiting
(``--wait-for``, ``--forever``, ``--echo``), then the end (``--exit``, ``--exits``, ``--die``).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

POLL_SECONDS = 0.005


def write_by_rename(path: str, text: str) -> None:
    """Write a file that a reader sees whole or not at all."""
    part = Path(f"{path}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def terminal_size() -> list[int] | None:
    """Columns and rows of the terminal, if stdout is one."""
    try:
        return list(os.get_terminal_size(1))
    except OSError:
        return None


def ignored_signals() -> list[int]:
    """Signals ignored as inherited; Python itself ignores two, which say nothing."""
    candidates = signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}
    return sorted(number for number in candidates if signal.getsignal(number) is signal.SIG_IGN)


def open_files() -> list[int]:
    """Descriptors this program was started with."""
    found = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    return sorted(number for number in found if Path(f"/dev/fd/{number}").exists())


def facts(inherited: list[int]) -> dict[str, Any]:
    """Collect what the launcher gave us; bytes that are not UTF-8 are kept as lone surrogates."""
    return {
        "argv": [os.fsencode(arg).decode("utf-8", "surrogateescape") for arg in sys.argv],
        "env": {
            name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
            for name, value in os.environb.items()
        },
        "cwd": str(Path.cwd()),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgrp(),
        "session": os.getsid(0),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "foreground": sys.stdin.isatty() and os.tcgetpgrp(0) == os.getpgrp(),
        "terminals": [os.isatty(number) for number in (0, 1, 2)],
        "size": terminal_size(),
        "ignored_signals": inherited,
        "open_files": open_files(),
    }


def start_grandchild() -> int:
    """Start a process in a session of its own, with init as its parent, that ignores what can be ignored."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        pid = int(os.read(reader, 32))
        os.close(reader)
        return pid
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.write(writer, str(os.getpid()).encode())
    os.close(writer)
    os.close(reader)
    silence()
    while True:
        signal.pause()


def silence() -> None:
    """Let go of the terminal."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


def flood(size: int) -> None:
    """Print ``size`` bytes as numbered lines of 80."""
    number = 0
    left = size
    while left > 0:
        line = f"{number:010d} {'x' * 68}\n".encode()[:left]
        left -= len(line)
        sys.stdout.buffer.write(line)
        number += 1
    sys.stdout.buffer.flush()


def exit_on_interrupt(code: int, delay: float) -> None:
    """Answer C-c by ending with ``code``, ``delay`` seconds later."""

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        # Not print: the signal may come in the middle of another one, which raises.
        os.write(sys.stdout.fileno(), b"interrupted\n")
        time.sleep(delay)
        os._exit(code)

    signal.signal(signal.SIGINT, on_interrupt)


def count_run(path: str) -> int:
    """Append a line for this run and return how many there were before."""
    with Path(path).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = len(file.readlines())
        file.write(f"{os.getpid()} {time.time():.6f}\n")
    return before


def hold_alone(path: str) -> None:
    """Hold a lock for life; if another run holds it, say so in ``PATH.overlap``.

    Grandchildren inherit the lock: what survived of an earlier run shows up as well.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with Path(f"{path}.overlap").open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--ignore", default="", metavar="INT,TERM,HUP", help="signals to ignore")
    add("--on-int", metavar="CODE[:DELAY]", help="on C-c, exit with CODE after DELAY seconds")
    add("--only-one", metavar="FILE", help="lock held for life; a second run at the same time appears in FILE.overlap")
    add("--runs", metavar="FILE", help="append a line, pid and time, for each run")
    add("--record", metavar="FILE", help="write argv, environment, folder, terminal, ids as JSON")
    add("--grandchildren", type=int, default=0, metavar="N", help="processes in sessions of their own ignoring signals")
    add("--pids-file", metavar="FILE", help="where their pids go, one a line")
    add("--silence", action="store_true", help="let go of the terminal")
    add("--print", action="append", default=[], metavar="TEXT", dest="texts", help="print a line; may be repeated")
    add("--flood", type=int, default=0, metavar="BYTES", help="print so many bytes")
    add("--ready", metavar="FILE", help="write the pid there once everything above has happened")
    add("--wait-for", metavar="FILE", help="wait until FILE exists")
    add("--echo", action="store_true", help="answer each line of input, until `quit` or the end of input")
    add("--forever", action="store_true", help="never end by itself")
    add("--exit", type=int, default=0, metavar="CODE", dest="code", help="exit status")
    add("--exits", metavar="A,B,C", help="exit status by run, the last one from then on; needs --runs")
    add("--die", type=int, metavar="SIGNAL", help="end by this signal")
    add("prompt", nargs="*", help="ignored, but recorded")
    return options


def echo() -> None:
    """Answer each line of input."""
    print("ready for input", flush=True)
    for line in sys.stdin:
        text = line.rstrip("\n")
        if text == "quit":
            return
        print(f"you said: {text}", flush=True)


def prepare(options: argparse.Namespace) -> None:
    """Do everything that comes before waiting."""
    inherited = ignored_signals()
    for name in filter(None, options.ignore.split(",")):
        signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
    if options.on_int is not None:
        code, _, delay = options.on_int.partition(":")
        exit_on_interrupt(int(code), float(delay or 0))
    if options.only_one:
        hold_alone(options.only_one)
    if options.record:
        write_by_rename(options.record, json.dumps(facts(inherited)))
    pids = [start_grandchild() for _ in range(options.grandchildren)]
    if options.pids_file:
        write_by_rename(options.pids_file, "".join(f"{pid}\n" for pid in pids))
    for text in options.texts:
        print(text, flush=True)
    flood(options.flood)
    if options.silence:
        silence()


def die(number: int) -> None:
    """End by a signal, whatever the handlers say."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()


def main() -> int:
    """Misbehave as told."""
    options = parser().parse_args()
    runs_before = count_run(options.runs) if options.runs else 0
    prepare(options)
    if options.ready:
        write_by_rename(options.ready, f"{os.getpid()}\n")
    if options.echo:
        echo()
    while options.forever:
        signal.pause()
    while options.wait_for and not Path(options.wait_for).exists():
        time.sleep(POLL_SECONDS)
    if options.die is not None:
        die(options.die)
    if options.exits is not None:
        codes = [int(code) for code in options.exits.split(",")]
        return codes[min(runs_before, len(codes) - 1)]
    return int(options.code)


if __name__ == "__main__":
    sys.exit(main())

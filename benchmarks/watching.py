"""What it costs to wait for a file to change, and how soon the change is seen.

Each way in a process of its own: as agentd does it, with watchfiles' public ``watch`` at several steps, and by blocking
on inotify, which is the floor. ``python -m benchmarks.watching [--seconds N]``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchfiles import watch

from agentd.daemon.file_changes import FileChanges

CHANGES = 20
_CLOSE_WRITE, _MOVED_TO = 0x08, 0x80

Wait = Callable[[Path, Callable[[], object]], None]
"""Calls back at each change of a file in a folder, for ever."""


def agentd(folder: Path, seen: Callable[[], object]) -> None:
    """Wait as agentd does."""
    changes = FileChanges([folder], lambda _: True, lambda: None)
    while changes.wait():
        seen()


def public(step: int) -> Wait:
    """Wait by watchfiles' own loop, with so many milliseconds between its looks."""

    def wait(folder: Path, seen: Callable[[], object]) -> None:
        never = threading.Event()
        for _ in watch(folder, watch_filter=None, step=step, stop_event=never, rust_timeout=0, recursive=False):
            seen()

    return wait


def inotify(folder: Path, seen: Callable[[], object]) -> None:
    """Wait by blocking on the kernel's own events."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    while os.read(descriptor, 4096):
        seen()


WAYS: dict[str, Wait] = {
    "agentd": agentd,
    **{f"watchfiles.watch, step {step} ms": public(step) for step in (20, 25, 30, 40, 55)},
    "blocking inotify": inotify,
}


def measure(wait: Wait, seconds: float) -> tuple[float, float, float]:
    """Give the share of a core in per cent while nothing changes, and the median and worst latency in ms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").write_text("0")
        told = threading.Event()
        threading.Thread(target=wait, args=(folder, told.set), daemon=True).start()
        time.sleep(1)
        before = _cpu()
        time.sleep(seconds)
        used = _cpu() - before
        latencies = []
        for number in range(CHANGES):
            told.clear()
            # Not in step with any pace.
            time.sleep(0.3 + 0.0137 * number)
            began = time.monotonic()
            (folder / ".part").write_text(f"{number}")
            (folder / ".part").rename(folder / "file")
            if told.wait(5):
                latencies.append(time.monotonic() - began)
        return used / seconds * 100, statistics.median(latencies) * 1e3, max(latencies) * 1e3


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of idleness for each way")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        idle, median, worst = measure(WAYS[arguments.way], arguments.seconds)
        print(f"| {arguments.way} | {idle:.2f} | {median:.0f} | {worst:.0f} |")
        sys.stdout.flush()
        # The thread that waits has no end.
        os._exit(0)
    print("| way | idle [% of a core] | seen after [ms, median] | worst [ms] |\n| --- | --- | --- | --- |", flush=True)
    for way in WAYS:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.watching", "--way", way, "--seconds", str(arguments.seconds)], check=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

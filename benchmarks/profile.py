"""Where agentd's time goes in one start of everything, seen by py-spy."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.running import running_agentd
from benchmarks.subject import table

_FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}
_SAMPLES_PER_SECOND = "500"


class ProfilerMissingError(RuntimeError):
    """py-spy is not installed."""


def profile(file: Path, count: int) -> None:
    """Record the daemon from before the write of the jcard until all agents run.

    Raises
    ------
    ProfilerMissingError
        If there is no py-spy, on the PATH or beside this Python.
    """
    py_spy = shutil.which("py-spy") or shutil.which("py-spy", path=Path(sys.executable).parent)
    if py_spy is None:
        raise ProfilerMissingError("expected py-spy on the PATH: pip install py-spy")
    with running_agentd() as subject:
        recorder = subprocess.Popen(
            [
                *(py_spy, "record", "--pid", str(subject.daemon.pid), "--rate", _SAMPLES_PER_SECOND),
                *("--format", _FORMATS.get(file.suffix, "flamegraph"), "--output", str(file)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert recorder.stdout is not None
            recorder.stdout.readline()
            time.sleep(0.5)
            before = subject.costs()
            seconds = subject.launch(table("agent", subject.roll.command, replicas=count), count)
            print(f"{count} agents in {seconds:.2f} s under the profiler: {subject.costs().since(before)}")
        finally:
            recorder.send_signal(signal.SIGINT)
            print(recorder.communicate()[0])

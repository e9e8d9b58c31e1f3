"""Fault runs that are ended from outside leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.ending import clear_away
from tests.support.processes import alive, marked
from tests.support.waiting import wait_for


def worker_of(run: psutil.Process) -> psutil.Process | None:
    return next(iter(run.children()), None)


def world_of(worker: psutil.Process) -> Path | None:
    """The folder of the world that it breaks, once agents run in it."""
    for process in worker.children():
        with suppress(psutil.Error):
            folder = Path(process.cwd())
            if folder.name.startswith("agentd-") and any("scripted_agent" in str(each) for each in marked(str(folder))):
                return folder
    return None


@pytest.fixture
def run() -> Iterator[psutil.Process]:
    argv = [sys.executable, "-m", "tests.faults", "--only=kills", "--rounds=4000", "--workers=1"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as started:
        try:
            yield psutil.Process(started.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("whom", "number"),
    [("run", signal.SIGTERM), ("run", signal.SIGKILL), ("worker", signal.SIGKILL)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_run_that_is_ended_leaves_neither_processes_nor_folders(
    run: psutil.Process, whom: str, number: signal.Signals
) -> None:
    worker = wait_for(lambda: worker_of(run), what="a worker is there")
    folder = wait_for(lambda: world_of(worker), what="its agents run")
    try:
        {"run": run, "worker": worker}[whom].send_signal(number)
        wait_for(
            lambda: not folder.exists() and not marked(str(folder)) and not alive(worker.pid),
            60,
            what="all is gone",
            explain=lambda: f"{folder} is there: {folder.exists()}; {[str(each) for each in marked(str(folder))]}",
        )
    finally:
        clear_away(folder)

"""What tests ask of processes, any of which may end while they look."""

from __future__ import annotations

import subprocess
import sys

import psutil

from tests.support.processes import called
from tests.support.waiting import wait_for


def test_processes_are_found_by_what_they_are_called_beside_others_that_end() -> None:
    waits = [sys.executable, "-S", "-c", "input()"]
    with (
        subprocess.Popen(waits, stdin=subprocess.PIPE) as one,
        subprocess.Popen(waits, stdin=subprocess.PIPE) as other,
    ):
        both = [psutil.Process(each.pid) for each in (one, other)]
        assert called(both, "python") == both
        assert called(both, "input") == []
        other.kill()
        wait_for(lambda: both[1].status() == psutil.STATUS_ZOMBIE)
        assert called(both, "python") == both[:1]
        other.wait()
        assert called(both, "python") == both[:1]
        one.kill()

from __future__ import annotations

import subprocess

import psutil

from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.proc import look_for_run_id
from tests.support.waiting import wait_for

RUN = "test-of-proc"


def test_a_process_that_changes_its_program_all_the_time_never_passes_for_unmarked() -> None:
    again = 'exec /bin/sh -c "$0" "$0"'
    with subprocess.Popen(["/bin/sh", "-c", again, again], env={RUN_ID_VARIABLE: RUN}) as process:
        try:
            wait_for(lambda: look_for_run_id(process.pid) == (RUN, True))
            # At 8 % of the looks its environment is empty.
            answers = {look_for_run_id(process.pid) for _ in range(20000)}
        finally:
            process.kill()
    assert answers <= {(RUN, True), (None, False)}


def test_an_empty_environment_is_one() -> None:
    with subprocess.Popen(["/bin/sleep", "1000"], env={}) as process:
        try:
            wait_for(lambda: look_for_run_id(process.pid) == (None, True))
        finally:
            process.kill()
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert look_for_run_id(process.pid) == (None, True)

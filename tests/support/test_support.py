"""The helpers are only evidence once they have been seen to notice what they look for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.agents import Recorded, jcard, misbehaving
from tests.support.processes import alive, end_marked, marked, wait_until_gone
from tests.support.waiting import WaitError, wait_for, wait_for_file


def run(*options: str | int | Path, timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(misbehaving(*options), capture_output=True, timeout=timeout, check=False)


def test_left_over_processes_are_found_in_sessions_of_their_own_and_without_parent(short_folder: Path) -> None:
    pids_file = short_folder / "pids"
    run("--grandchildren", 2, "--pids-file", pids_file, "--silence")
    pids = [int(line) for line in pids_file.read_text().split()]
    try:
        assert len(pids) == 2
        assert {os.getsid(pid) for pid in pids}.isdisjoint({os.getsid(0)})
        assert {process.pid for process in marked(str(short_folder))} == set(pids)
        os.kill(pids[0], signal.SIGTERM)
        assert alive(pids[0])
    finally:
        end_marked(str(short_folder))
    wait_until_gone(pids)
    assert marked(str(short_folder)) == []


def test_the_recorded_argv_and_environment_are_byte_exact(short_folder: Path) -> None:
    prompt = b"a\tb\n'\"$(x)`y`\\ \xff\xfe \xe2\x82\xac"
    record = short_folder / "record.json"
    command = [os.fsencode(word) for word in misbehaving("--record", record, "--")]
    subprocess.run([*command, prompt], env={**os.environb, b"ODD": prompt}, check=True)
    recorded: Recorded = json.loads(record.read_text())
    assert recorded["argv"][-1].encode("utf-8", "surrogateescape") == prompt
    assert recorded["env"]["ODD"].encode("utf-8", "surrogateescape") == prompt
    assert recorded["open_files"][:3] == [0, 1, 2]


@pytest.mark.parametrize(("number", "name"), [(9, "KILL"), (15, "TERM"), (6, "ABRT")])
def test_the_agent_dies_by_the_signal_it_is_told(number: int, name: str) -> None:
    assert run("--ignore", "" if name == "KILL" else name, "--die", number).returncode == -number


def test_the_exit_status_follows_the_number_of_the_run(short_folder: Path) -> None:
    runs = short_folder / "runs"
    assert [run("--runs", runs, "--exits", "3,4,0").returncode for _ in range(4)] == [3, 4, 0, 0]
    assert len(runs.read_text().splitlines()) == 4


def test_two_runs_at_once_are_noticed_and_two_in_turn_are_not(short_folder: Path) -> None:
    lock, ready = short_folder / "lock", short_folder / "ready"
    run("--only-one", lock)
    run("--only-one", lock)
    assert not Path(f"{lock}.overlap").exists()
    with subprocess.Popen(misbehaving("--only-one", lock, "--ready", ready, "--forever")) as first:
        wait_for_file(ready)
        run("--only-one", lock)
        first.kill()
    assert Path(f"{lock}.overlap").exists()


def test_an_interrupt_is_answered_with_the_status_asked_for(short_folder: Path) -> None:
    ready = short_folder / "ready"
    with subprocess.Popen(misbehaving("--on-int", "7:0.01", "--ready", ready, "--forever")) as agent:
        wait_for_file(ready)
        agent.send_signal(signal.SIGINT)
        assert agent.wait(30) == 7


def test_a_flood_has_exactly_the_size_asked_for() -> None:
    assert len(run("--flood", 100_001).stdout) == 100_001


def test_waiting_that_fails_says_what_for_and_what_was_seen() -> None:
    with pytest.raises(WaitError, match=r"(?s)the moon.*last answer: 0.*all about it"):
        wait_for(lambda: 0, timeout=0.01, what="the moon", explain=lambda: "all about it")


def test_a_jcard_is_written_with_every_byte_of_its_strings() -> None:
    text = jcard({"name": "a", "prompt": "x\ny\t\"'$"}, mixtape="other")
    assert text.startswith('mixtape = "other"')
    assert '"x\\ny\\t\\"' in text

"""Processes by command, and which of them may be ended, told of real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.model.processes import CommandProcesses, ProcessKind
from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.commands import AgentProcess, CommandLooks, by_command, name_of, reapable
from agentd.process.ending import end_processes
from agentd.process.identity import ProcessIdentity
from agentd.process.usage import Tree
from tests.support.waiting import wait_for

RUN = "run-of-commands"
OURS = {**os.environ, RUN_ID_VARIABLE: RUN}
_LOSES_ITS_PARENTS = """
import os, subprocess, sys
kind, *words = sys.argv[1:]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
none = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
streams = pipes if kind == "server" else none
child = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL, **streams)
print(child.pid, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([b"/usr/bin/claude", b"--token", b"s3cret"], "claude"),
        ([b"/usr/bin/python3.11", b"-I", b"/opt/agent.py"], "python3.11"),
        ([b"/usr/bin/python3.11", b"-m", b"pytest", b"x"], "python3.11 pytest"),
        ([b"node", b"/opt/mcp/server.js", b"s3cret"], "node server.js"),
        ([b"npm exec @playwright/mcp"], "npm exec mcp"),
        ([b"sh", b"-c", b"curl -H s3cret"], "sh"),
        ([b"bash", b"PASSWORD=s3cret"], "bash"),
        ([b"-zsh"], "-zsh"),
        ([b"x" * 99], "x" * 39 + "…"),
        ([b""], None),
        ([], None),
    ],
)
def test_a_command_is_named_without_its_arguments(words: list[bytes], name: str | None) -> None:
    assert name_of(words) == name


def process(pid: int, command: str, kind: ProcessKind, memory: int) -> AgentProcess:
    return AgentProcess(ProcessIdentity(pid, 1), 1, command, kind, memory)


def test_processes_are_summed_up_by_command_and_kind_the_largest_first() -> None:
    tool = ProcessKind.TOOL
    found = [process(3, "sh", tool, 1), process(2, "sh", tool, 2), process(4, "sh", ProcessKind.ORPHAN, 9)]
    assert by_command(found) == [
        CommandProcesses("sh", "orphan", 1, 9, [4]),
        CommandProcesses("sh", "tool", 2, 3, [2, 3]),
    ]


@pytest.fixture
def orphans() -> Iterator[list[int]]:
    """Pids of what lost its parents; ended after the test."""
    found: list[int] = []
    yield found
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ignores_term(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def lost(orphans: list[int], kind: str, *words: str, run: str = RUN) -> int:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LOSES_ITS_PARENTS, kind, *words],
        env={**OURS, RUN_ID_VARIABLE: run},
        capture_output=True,
        check=True,
    )
    orphans.append(int(done.stdout))
    # Until it is another program it shows the former one's.
    wait_for(lambda: words[0].encode() in Path(f"/proc/{orphans[-1]}/cmdline").read_bytes().split(b"\0")[:1])
    return orphans[-1]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="orphans are ended only where there are pidfds")
def test_only_orphans_that_are_proven_and_that_nobody_talks_to_are_ended(orphans: list[int]) -> None:
    stays = subprocess.Popen(["sleep", "4715"], stdin=subprocess.DEVNULL, env=OURS)
    # The agent, this process, holds the other ends of its pipes.
    talker = subprocess.Popen(
        ["sleep", "4716"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=OURS
    )
    try:
        plain, strange = lost(orphans, "tool", "sleep", "4717"), lost(orphans, "tool", "sleep", "4718", run="other")
        deaf = lost(orphans, "tool", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
        gone = lost(orphans, "server", "sleep", "4719")
        known = [ProcessIdentity.of(pid) for pid in (plain, strange, deaf, gone, talker.pid)]
        found = [AgentProcess(each, 1, "sleep", ProcessKind.ORPHAN, 0) for each in known if each is not None]
        mine = ProcessIdentity.of(os.getpid())
        assert mine is not None
        agent = AgentProcess(mine, 1, "python", ProcessKind.AGENT, 0)
        proven = reapable(RUN, [agent, *found], 0.0)
        assert {each.identity.pid for each in proven} == {plain, deaf, gone}
        assert reapable(RUN, [agent, *found], 3600.0) == [], "no turn that ended an hour ago has left them"
        stale = ProcessIdentity(stays.pid, 1)
        wait_for(lambda: _ignores_term(deaf), what="it ignores SIGTERM")
        ended = end_processes(RUN, [stale, *(each.identity for each in proven)], grace=2.0)
        assert {each.process.pid: each.killed for each in ended} == {plain: False, gone: False, deaf: True}
        assert stays.poll() is None, "its pid was another's before"
    finally:
        for each in (stays, talker):
            each.kill()
            each.communicate()


def test_a_look_tells_what_each_process_is_to_its_agent(orphans: list[int]) -> None:
    script = "sleep 4721 </dev/null & true | (sleep 4722; true) | cat & wait"
    launcher = subprocess.Popen(
        ["sh", "-c", f"sh -c '{script}'; :"], start_new_session=True, stdin=subprocess.DEVNULL, env=OURS
    )
    try:
        lonely = lost(orphans, "tool", "sleep", "4723")
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
        wait_for(lambda: children.read_text() != "", what="the agent runs")
        agent = int(children.read_text())

        def kinds() -> dict[str, int]:
            found = CommandLooks().look([Tree("a", RUN, launcher.pid, agent)]).get("a", ())
            return {str(each.kind): each.identity.pid for each in found}

        wait_for(lambda: {"agent", "tool", "server", "orphan"} <= kinds().keys(), what="all kinds are seen")
        assert (kinds()["orphan"], kinds()["agent"]) == (lonely, agent)
    finally:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()

"""Start-up: what is imported, which no other work on the machine changes, and CPU time against that of Python itself.

An idle machine takes 12 ms for Python; 120 ms for the help and 150 ms for the status are what people are promised.
"""

from __future__ import annotations

import functools
import math
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from agentd.settings.flags import INTERVAL, TRANSCRIPTS
from agentd.settings.settings import resolve_settings
from agentd.text.durations import parse_duration
from agentd.text.sizes import parse_size
from tests.cli.support import RUNNING, Client, MemorySource
from tests.support.daemon import program
from tests.support.thorough import everyday

ROUNDS = 10
"""At most; a busy machine slows what is larger more, down to its least busy moment."""
HELP_LIMIT, STATUS_LIMIT, EDIT_LIMIT = 7.0, 150 / 12, 40.0

NEVER = {"aiohttp", "asyncio", "structlog", "watchfiles", "libtmux", "http.client", "email.message"}
"""What no command that reads or edits has a use for."""
TO_EDIT = {"pydantic", "tomlkit", "tomllib", "importlib.metadata", "durationpy", "subprocess", "tempfile"}
TO_ASK = {"dataclasses", "inspect", "typing", "pathlib", "json", "socket", "datetime", "agentd.model.status"}


def imported(env: Mapping[str, str], *command: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], env=env, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    rows = (line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {row[2].strip() for row in rows}


@functools.cache
def pythons_own() -> set[str]:
    return imported(os.environ, "-c", "pass")


def modules_of(client: Client, *arguments: str) -> set[str]:
    """What a command imports, beside what Python itself does."""
    return imported(client.environment, program("agentctl"), *arguments) - pythons_own()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["frobnicate"], ["stop", "--help"]], ids=str)
def test_a_help_imports_what_it_prints(client: Client, arguments: list[str]) -> None:
    modules = modules_of(client, *arguments)
    # To suggest a command, difflib is at hand, and brings some along.
    unwanted = NEVER | TO_EDIT | (TO_ASK - {"typing"} if "frobnicate" in arguments else TO_ASK)
    assert modules & unwanted == set()
    commands = {name for name in modules if name.startswith("agentd.cli.agentctl.")}
    assert len(commands) <= len(["entry", "catalogue", "command", "the command's own"])
    assert len(modules) < 60


MODULES_TO_ASK = 134 if sys.version_info < (3, 13) else 140
"""Fewer modules are imported to show what there is; newer Pythons divide pathlib and re."""


@pytest.mark.parametrize(
    "arguments",
    everyday([["status"]], [["status"], ["status", "--json"], ["list"], ["status", "agent-007"], ["__names"]]),
)
def test_reading_imports_nothing_that_edits(client: Client, source: MemorySource, arguments: list[str]) -> None:
    source.statuses = [replace(RUNNING, name="agent-007")]
    modules = modules_of(client, *arguments)
    assert modules & (NEVER | TO_EDIT | {"datetime"}) == set()
    assert len(modules) < MODULES_TO_ASK


@pytest.mark.parametrize("command", ["screen", "logs"])
def test_what_the_daemon_answers_needs_no_libtmux(client: Client, source: MemorySource, command: str) -> None:
    source.statuses = [replace(RUNNING, name="agent-007")]
    modules = modules_of(client, command, "agent-007")
    assert "agentd.cli.agentctl.lookup" in modules
    assert modules & {"libtmux", "agentd.cli.agentctl.terminals"} == set()


@pytest.mark.thorough
def test_a_screen_without_a_daemon_needs_no_part_of_one(client: Client) -> None:
    modules = modules_of(replace(client, env={"AGENTD_API_SOCKET": "gone.sock"}), "screen", "agent-007")
    assert "libtmux" in modules
    assert modules & (NEVER | {"pydantic", "tomlkit"}) == {"libtmux"}


def test_editing_imports_no_part_of_the_daemon_that_runs(client: Client) -> None:
    assert client("add", "a", "--harness", "custom", "--", "sleep", "1").status == 0
    modules = modules_of(client, "set", "a", "max_restarts=3", "--wait")
    assert modules & (NEVER - {"email.message"}) == set()  # importlib.metadata has it, to find harnesses
    parts = ("agentd.api.", "agentd.recording.", "agentd.daemon.run")
    assert [name for name in modules if name.startswith(parts)] == []


def test_the_settings_that_are_not_read_are_what_they_say() -> None:
    settings = resolve_settings({}, {"HOME": "/"}, root=False)
    assert (settings.interval, settings.transcripts) == (parse_duration(INTERVAL), parse_size(TRANSCRIPTS))


def seconds(command: Sequence[str], client: Client) -> float:
    """CPU time of one run: the waiting is the machine's, not the command's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=client.environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        (["--help"], HELP_LIMIT),
        (["status"], STATUS_LIMIT),
        pytest.param(["__names"], STATUS_LIMIT, marks=pytest.mark.thorough),
        pytest.param(["list", "--json"], STATUS_LIMIT, marks=pytest.mark.thorough),
        (["add", "a", "--harness", "custom", "--dry-run", "--", "sleep", "1"], EDIT_LIMIT),
    ],
    ids=str,
)
def test_it_answers_before_a_person_waits(
    client: Client, source: MemorySource, arguments: list[str], limit: float
) -> None:
    source.statuses = [replace(RUNNING, name=f"agent-{number:03}") for number in range(300)]
    # The fastest of each, by turns, so that a busy moment meets both; more rounds could only make ours faster.
    python = min(seconds([sys.executable, "-c", "pass"], client) for _ in range(ROUNDS))
    ours = math.inf
    for _ in range(ROUNDS):
        ours = min(ours, seconds([program("agentctl"), *arguments], client))
        if ours < limit * python:
            break
        python = min(python, seconds([sys.executable, "-c", "pass"], client))
    assert ours < limit * python, f"{ours * 1000:.0f} ms, where Python takes {python * 1000:.0f} ms"

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.support import RUNNING, AgentStatus, Client, MemorySource, answering
from tests.support.waiting import wait_for


def test_a_state_that_is_there_already_returns_at_once(client: Client, source: MemorySource) -> None:
    assert source.statuses
    done = client("wait", "REVIEWER-0", "--for", "running")
    assert (done.status, done.out) == (0, "reviewer-0 is running\n")


def test_it_returns_when_the_state_comes(client: Client) -> None:
    asked: list[str] = []

    class Counting(MemorySource):
        def agent(self, name: str) -> AgentStatus | None:
            asked.append(name)
            return super().agent(name)

    source = Counting([replace(RUNNING, state="starting", running=False)])
    with answering(source, client.api_socket):
        process = client.start("wait", "reviewer-0", "--for", "running", "--json", "--timeout", "30s")
        wait_for(lambda: len(asked) >= 2, what="it asks again")
        assert process.poll() is None
        source.statuses = [RUNNING]
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert '"state": "running"' in out


def test_when_the_time_is_over_it_fails_and_says_where_the_agent_is(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, state="failed", running=False, error="no binary")]
    done = client("wait", "reviewer-0", "--for", "exited", "--timeout", "150ms")
    assert (done.status, done.out) == (1, "")
    assert "reviewer-0 is failed (no binary), not exited" in done.err


def test_a_timeout_of_0_looks_once(client: Client, source: MemorySource) -> None:
    assert source.statuses
    assert client("wait", "reviewer-0", "--for", "exited", "--timeout", "0").status == 1


def test_an_unknown_agent_fails(client: Client, source: MemorySource) -> None:
    assert source.statuses
    assert client("wait", "nobody", "--for", "running").status == 1


@pytest.mark.parametrize(
    "arguments", [["--for", "happy"], [], ["--for", "running", "--timeout", "5"], ["--for", "running", "--timeout=-5s"]]
)
def test_states_and_durations_are_checked(client: Client, arguments: list[str]) -> None:
    done = client("wait", "reviewer-0", *arguments)
    assert done.status == 2

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.events import Event, EventKind
from agentd.model.status import NOT_READ_YET
from tests.cli.support import HEALTH, RUNNING, AgentStatus, Client, MemorySource, answering
from tests.support.waiting import wait_for


def test_a_state_that_is_there_already_returns_at_once(client: Client, source: MemorySource) -> None:
    assert source.statuses
    done = client("wait", "REVIEWER-0", "--for", "running")
    assert (done.status, done.out) == (0, "reviewer-0 is running\n")


class _Counting(MemorySource):
    """Notes each look at an agent."""

    def __init__(self, *statuses: AgentStatus) -> None:
        super().__init__(list(statuses))
        self.asked = 0

    def agent(self, name: str) -> AgentStatus | None:
        self.asked += 1
        return super().agent(name)


class _Late(MemorySource):
    """Knows an agent from the second question on."""

    def __init__(self) -> None:
        super().__init__([])

    def agent(self, name: str) -> AgentStatus | None:
        found = super().agent(name)
        self.statuses = [RUNNING]
        return found


def test_an_agent_that_comes_between_two_requests_is_no_unknown_one(client: Client) -> None:
    with answering(_Late(), client.api_socket):
        assert client("wait", RUNNING.name, "--for", "running").out == f"{RUNNING.name} is running\n"


STARTING = replace(RUNNING, state="starting", running=False)


def state_event(state: str, agent: str = RUNNING.name) -> Event:
    """An event after which the agent is in this state."""
    return Event(EventKind.STARTED, agent, None, {"state": state})


def test_it_returns_when_the_state_comes(client: Client) -> None:
    source = _Counting(STARTING)
    with answering(source, client.api_socket) as tell:
        process = client.start("wait", "reviewer-0", "--for", "running", "--json", "--timeout", "30s")
        wait_for(lambda: source.asked >= 2, what="it looks again once it follows the events")
        assert process.poll() is None
        source.statuses = [RUNNING]
        tell(state_event("stopping"))
        tell(state_event("running", "another"))
        tell(state_event("running"))
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert '"state": "running"' in out
    # Not by looking again and again: at the beginning, when it follows, and for what it prints.
    assert source.asked == 3


def test_a_state_that_came_before_it_followed_is_not_missed(client: Client) -> None:
    class Changing(_Counting):
        def agent(self, name: str) -> AgentStatus | None:
            found = super().agent(name)
            self.statuses = [RUNNING]
            return found

    with answering(Changing(STARTING), client.api_socket):
        assert client("wait", "reviewer-0", "--for", "running", "--timeout", "20s").out == "reviewer-0 is running\n"


def test_a_state_that_the_agent_only_passes_through_counts_and_it_says_so(client: Client) -> None:
    source = _Counting(STARTING)
    with answering(source, client.api_socket) as tell:
        process = client.start("wait", "reviewer-0", "--for", "exited,running", "--for=failed", "--timeout", "30s")
        wait_for(lambda: source.asked >= 2, what="it follows the events")
        tell(state_event("running"))
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "reviewer-0 was running, and is starting now\n")


def test_an_agent_that_is_removed_meanwhile_fails(client: Client) -> None:
    source = _Counting(STARTING)
    with answering(source, client.api_socket) as tell:
        process = client.start("wait", "reviewer-0", "--for", "running")
        wait_for(lambda: source.asked >= 2, what="it follows the events")
        source.statuses = []
        tell(Event(EventKind.REMOVED, "reviewer-0"))
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert 'there is no agent "reviewer-0"' in err


def test_a_restart_of_the_daemon_is_waited_out(client: Client) -> None:
    source = _Counting(STARTING)
    with answering(source, client.api_socket):
        process = client.start("wait", "reviewer-0", "--for", "running", "--timeout", "30s")
        wait_for(lambda: source.asked >= 2, what="it follows the events")
    # It became so while nobody could tell; and the new daemon has not read its jcard at first.
    source.statuses = []
    source.health_now = replace(HEALTH, config=replace(HEALTH.config, error=NOT_READ_YET))
    before = source.asked
    with answering(source, client.api_socket):
        wait_for(lambda: source.asked > before, what="it asks the new daemon")
        assert process.poll() is None
        source.statuses = [RUNNING]
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "reviewer-0 is running\n")
    assert "agentd went away" in err
    assert "agentd is back" in err


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

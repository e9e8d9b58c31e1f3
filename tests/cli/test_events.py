from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from agentd.model.events import Event, EventKind
from tests.cli.support import Client, MemorySource, TmuxServer, answering
from tests.support.waiting import wait_for

Tell = Callable[[Event], None]

EXITED = Event(EventKind.EXITED, "reviewer-0", "it\tsaid \x1b[31mno", {"state": "failed", "run": "r1", "exit_code": 3})
CHANGED = Event(EventKind.CHANGED, "reviewer-0", "changed: argv, env", {"action": "restart", "fields": ["argv", "env"]})
LOADED = Event(EventKind.CONFIG_LOADED, None, None, {"agents": 2})


@pytest.fixture
def tell(client: Client) -> Iterator[Tell]:
    """A daemon that has told of three events, and takes more."""
    with answering(MemorySource(), client.api_socket) as tell:
        for event in (LOADED, EXITED, CHANGED):
            tell(event)
        wait_for(lambda: len(client("events").rows) == 3, what="the events are kept")
        yield tell


class Following:
    """A client that follows, and the lines it has printed so far."""

    def __init__(self, client: Client, *arguments: str) -> None:
        self.process = client.start("events", "-f", *arguments)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self, count: int) -> list[str]:
        wait_for(lambda: len(self.lines) >= count, 20, what=f"{count} lines", explain=lambda: "\n".join(self.lines))
        return self.lines

    def end(self) -> tuple[int, str]:
        """C-c; its exit status and what it said beside the events."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self._thread.join(30)
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            said = stream.read()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.returncode, said


@pytest.mark.usefixtures("tell")
def test_each_event_is_one_line_of_tab_separated_fields(client: Client) -> None:
    done = client("events")
    assert done.status == 0
    assert [[row[0], *row[2:]] for row in done.rows] == [
        ["1", "-", "config_loaded", "-", "agents=2"],
        ["2", "reviewer-0", "exited", r"it\tsaid \x1b[31mno", "state=failed run=r1 exit_code=3"],
        ["3", "reviewer-0", "changed", "changed: argv, env", "action=restart fields=argv,env"],
    ]
    assert all(row[1].endswith("Z") for row in done.rows)


@pytest.mark.usefixtures("tell")
def test_json_is_the_apis_array(client: Client) -> None:
    document = client("events", "--json", "--agent", "REVIEWER-0").document
    assert isinstance(document, list)
    assert [event["seq"] for event in document] == [2, 3]
    assert document[0]["data"] == EXITED.data


@pytest.mark.usefixtures("tell")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-n", "1"], ["3"]),
        (["-n", "0"], []),
        (["--since", "1"], ["2", "3"]),
        (["--since", "1h"], ["1", "2", "3"]),
        (["--since", "0s"], []),
        (["--kind", "exited", "--kind=config_loaded"], ["1", "2"]),
        (["--agent", "nobody"], []),
    ],
)
def test_it_prints_what_was_asked_for(client: Client, arguments: list[str], expected: list[str]) -> None:
    assert [row[0] for row in client("events", *arguments).rows] == expected


@pytest.mark.usefixtures("tell")
def test_a_kind_that_this_version_does_not_know_is_asked_for_with_a_warning(client: Client) -> None:
    done = client("events", "--kind", "exitted")
    assert (done.status, done.out) == (0, "")
    assert 'no kind "exitted"' in done.err


@pytest.mark.usefixtures("tell")
def test_what_is_misspelt_is_told_where_nothing_is_found(client: Client) -> None:
    done = client("events", "--kind", "exitd", "--agent", "reviewr-0")
    assert (done.status, done.out) == (0, "")
    assert 'knows no kind "exitd"; did you mean exited?' in done.err
    assert 'there is no agent "reviewr-0": ' in done.err
    # Events are kept of agents that are no longer there.
    assert client("events", "--agent", "reviewer-0").err == ""


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["-n", "-1"], ["-n", "x"], ["--since", "1", "-n", "1"]]
)
def test_what_makes_no_sense_is_status_2(client: Client, arguments: list[str]) -> None:
    assert client("events", *arguments).status == 2


def test_it_follows_until_it_is_told_to_end(client: Client, tell: Tell) -> None:
    following = Following(client, "-n", "2", "--json")
    assert [json.loads(line)["seq"] for line in following.wait(2)] == [2, 3]
    tell(EXITED)
    following.wait(3)
    assert "\n" not in following.lines[-1]
    code, said = following.end()
    assert (code, said) == (130, "")


def test_no_event_is_missed_or_repeated_over_restarts(client: Client) -> None:
    with answering(MemorySource(), client.api_socket) as tell:
        following = Following(client, "--since", "0")
        tell(LOADED)
        following.wait(1)
    with answering(MemorySource(), client.api_socket) as tell:
        tell(EXITED)
        tell(Event(EventKind.DAEMON_STOPPED))
        following.wait(3)
    with answering(MemorySource(), client.api_socket) as tell:
        tell(CHANGED)
        following.wait(4)
        kept = [row[0] for row in client("events").rows]
        code, said = following.end()
    assert [line.split("\t")[0] for line in following.lines] == kept
    assert said.count("agentd went away") == 2
    assert said.count("agentd is back") == 2
    assert code == 130


def test_on_a_terminal_it_is_a_log_for_people(client: Client, tell: Tell, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("op", client.shell_words("events", TZ="UTC"))
    screen = operator_tmux.wait_for_text("op", "[status 0]")
    first, second, third = screen.splitlines()[:3]
    assert first[:2] == "20"
    assert first[19:].split() == ["-", "config_loaded", "agents=2"]
    assert second[19:].split() == ["reviewer-0", "exited", r"it\tsaid", r"\x1b[31mno", "exit_code=3"]
    assert "fields=argv,env" in third
    assert callable(tell)


def test_a_reader_that_has_enough_ends_it_without_a_word(client: Client, tell: Tell) -> None:
    process = client.start("events", "-f")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    tell(EXITED)
    tell(EXITED)
    try:
        assert process.wait(30) == 141
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    with process.stderr as stream:
        assert stream.read() == ""

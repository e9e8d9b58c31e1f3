from __future__ import annotations

import json
import re
import signal
from dataclasses import asdict, replace
from typing import cast

import pytest

from agentd.model.states import AgentState
from agentd.model.status import AgentCounts, ConfigStatus, RecordingHealth
from tests.cli.support import HEALTH, SANDBOX, Client, MemorySource, TmuxServer
from tests.cli.support import RUNNING as ASKING
from tests.support.thorough import everyday

RUNNING = replace(ASKING, activity="unknown", activity_source="process", activity_text=None)
FAILED = replace(
    RUNNING,
    name="Builder",
    running=False,
    state="failed",
    session="build",
    pid=None,
    uptime_seconds=0,
    exit_code=3,
    restarts=2,
    error='no "agent" on PATH',
    activity=None,
    activity_since=None,
    activity_source=None,
)
HOSTILE = replace(RUNNING, name="x", error="a\tb\nc\x1b[31md\x07\u202e", harness="h\x9b2J")


@pytest.fixture(autouse=True)
def agents(source: MemorySource) -> None:
    source.statuses = [RUNNING, FAILED]


def test_away_from_a_terminal_each_agent_is_one_line_of_tab_separated_fields(client: Client) -> None:
    done = client("status")
    assert done.status == 0
    assert done.rows == [
        ["Builder", "failed", "-", "2", "3", "-", "claude-code", "build", 'no "agent" on PATH', "-"],
        ["reviewer-0", "running", "120", "1", "-", "51877", "claude-code", "reviewer-0", "-", "unknown"],
    ]


def test_what_an_agent_asks_stands_beside_what_it_does(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.statuses = [ASKING, replace(FAILED, session="Builder")]
    assert [row[8:] for row in client("status").rows] == [
        ['no "agent" on PATH', "-"],
        ["rm -r build", "waiting_permission"],
    ]
    operator_tmux.session("s", client.shell_words("status"))
    lines = operator_tmux.wait_for_text("s", "[status 0]").splitlines()
    heading = next(line for line in lines if line.startswith("NAME"))
    assert heading.split()[:4] == ["NAME", "STATE", "ACTIVITY", "UPTIME"]
    row = next(line for line in lines if line.startswith("reviewer-0"))
    assert "  waiting_permission  " in row
    assert row.rstrip().endswith("rm -r build")


def test_away_from_a_terminal_a_jcard_that_is_not_valid_is_said_beside_the_agents(
    client: Client, source: MemorySource
) -> None:
    assert client("status").err == ""
    source.health_now = replace(
        HEALTH, config=ConfigStatus("/etc/j.toml", False, "line 3: bad\x1b[2J", (), "2026-01-31T09:00:00Z", None, ())
    )
    done = client("status")
    assert (done.status, len(done.rows)) == (0, 2)
    assert done.err == "agentctl: config /etc/j.toml: not valid: line 3: bad\\x1b[2J\n"


def test_json_is_one_document_of_daemon_and_agents(client: Client) -> None:
    done = client("status", "--json")
    assert done.document == {
        "daemon": {
            **asdict(HEALTH),
            "config": json.loads(json.dumps(asdict(HEALTH.config))),
            "slow_reads": [asdict(each) for each in HEALTH.slow_reads],
        },
        "agents": [asdict(FAILED), asdict(RUNNING)],
    }


def test_one_agent_is_shown_a_field_a_line(client: Client) -> None:
    rows = dict(client("status", "builder").rows)
    assert rows["name"] == "Builder"
    assert rows["exit_code"] == "3"
    assert rows["running"] == "false"
    assert rows["deadline"] == "-"
    assert set(rows) == set(asdict(FAILED))


def test_one_agent_as_json_is_the_apis_object(client: Client) -> None:
    assert client("status", "BUILDER", "--json").document == asdict(FAILED)


def test_a_run_that_a_signal_ended_is_named_by_the_signal(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(FAILED, exit_code=None, exit_signal=9), replace(RUNNING, name="z", exit_signal=200)]
    assert [row[4] for row in client("status").rows] == ["SIGKILL", "signal 200"]


def test_the_next_restart_and_the_deadline_are_told_from_now(client: Client, source: MemorySource) -> None:
    source.statuses = [
        replace(FAILED, name="a", state="backoff", error=None, next_restart_at="2999-01-01T00:00:00Z"),
        replace(FAILED, name="b", state="backoff", next_restart_at="2001-01-01T00:00:00Z"),
        replace(RUNNING, name="c", deadline="2999-01-01T00:00:00Z"),
        replace(FAILED, name="d", error=None, next_restart_at="soon"),
    ]
    a, b, c, d = (row[8] for row in client("status").rows)
    assert re.fullmatch(r"restart in \d+d\d\dh", a)
    assert b == 'no "agent" on PATH; restart now'
    assert re.fullmatch(r"times out in \d+d\d\dh", c)
    assert d == "restart at soon"


def test_list_says_where_agents_run(client: Client) -> None:
    assert client("list").rows == [
        ["Builder", "claude-code", "native", "build", "/home/agent/workspace"],
        ["reviewer-0", "claude-code", "native", "reviewer-0", "/home/agent/workspace"],
    ]


def test_list_as_json_is_an_array(client: Client) -> None:
    document = client("list", "--json").document
    assert isinstance(document, list)
    assert document[0] == {
        "name": "Builder",
        "harness": "claude-code",
        "type": "native",
        "session": "build",
        "workdir": "/home/agent/workspace",
        "owner": None,
        "source": "/etc/stereos/jcard.toml",
    }


def test_no_agents_are_no_lines(client: Client, source: MemorySource) -> None:
    source.statuses = []
    assert client("status").out == client("list").out == ""
    assert client("list", "--json").document == []


@pytest.mark.parametrize(("typed", "hint"), [("reviewr-0", "did you mean reviewer-0?"), ("zzz", "agentctl list")])
def test_an_unknown_agent_fails_with_a_hint(client: Client, typed: str, hint: str) -> None:
    done = client("status", typed)
    assert (done.status, done.out) == (1, "")
    assert f'there is no agent "{typed}": ' in done.err
    assert hint in done.err


@pytest.mark.parametrize("typed", ["", "a/b", "..", "a b", "ü", "\x1b[2J", "%2e"])
def test_a_name_that_no_agent_can_have_is_unknown_like_any_other(client: Client, typed: str) -> None:
    done = client("status", typed, "--json")
    assert done.status == 1
    assert isinstance(done.document, dict)
    assert "there is no agent" in done.document["error"]
    assert "\x1b" not in done.err


def test_control_characters_from_outside_are_made_harmless(client: Client, source: MemorySource) -> None:
    source.statuses = [HOSTILE]
    done = client("status")
    assert done.rows == [
        [
            "x",
            "running",
            "120",
            "1",
            "-",
            "51877",
            "h\\x9b2J",
            "reviewer-0",
            "a\\tb\\nc\\x1b[31md\\x07\\u202e",
            "unknown",
        ]
    ]
    assert client("status", "x", "--json").out.isascii()


def test_every_state_has_a_symbol_on_a_terminal(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.statuses = [
        replace(RUNNING, name=f"in-{state}", state=str(state), running=state.live) for state in AgentState
    ]
    operator_tmux.session("s", client.shell_words("status"))
    screen = operator_tmux.wait_for_text("s", "[status 0]")
    lines = [line.split() for line in screen.splitlines() if line.startswith("in-")]
    assert sorted((name, shown) for name, _, shown, *_ in lines) == sorted(
        (f"in-{state}", state) for state in AgentState
    )
    assert not [symbol for _, symbol, *_ in lines if symbol.isascii()]


def test_on_a_terminal_there_is_a_header_about_the_daemon_and_an_aligned_table(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.health_now = replace(
        HEALTH,
        agents=AgentCounts(2, 1, 1),
        config=ConfigStatus(
            "/etc/j.toml", False, "line 3: bad\x1b[2J", ("unknown key",), "2026-01-31T09:00:00Z", None, ()
        ),
    )
    operator_tmux.session("s", client.shell_words("status"))
    screen = operator_tmux.wait_for_text("s", "[status 0]").splitlines()
    assert screen[0] == "agentd 0.1.0 running for 2m03s, pid 4242: 2 agents, 1 running, 1 failed"
    assert screen[1:5] == [
        "config /etc/j.toml: not valid",
        "  error: line 3: bad\\x1b[2J",
        "  the configuration of 2026-01-31T09:00:00Z stays in force",
        "  warning: unknown key",
    ]
    heading, builder, reviewer = screen[6:9]
    assert heading.split() == ["NAME", "STATE", "UPTIME", "RESTARTS", "EXIT", "PID", "RUNS", "SESSION", "DETAIL"]
    for column in ("STATE", "UPTIME", "RUNS", "SESSION"):
        at = heading.index(column)
        assert builder[at - 1] == reviewer[at - 1] == " "
        assert " " not in (builder[at], reviewer[at])


def test_the_table_says_what_each_agent_runs_and_leaves_out_sessions_that_are_named_as_their_agents(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.statuses = [
        RUNNING,
        replace(RUNNING, name="own", session="own", harness="custom", command="./run", model=None),
    ]
    operator_tmux.session("s", client.shell_words("status"))
    screen = operator_tmux.wait_for_text("s", "[status 0]")
    heading, own, reviewer = screen.splitlines()[3:6]
    assert "SESSION" not in heading
    at = heading.index("RUNS")
    assert own[at:].startswith("./run ")
    assert reviewer[at:].startswith("claude-code opus ")


def test_colour_is_for_terminals_without_no_color(client: Client, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("plain", client.shell_words("status", NO_COLOR="1"))
    operator_tmux.session("colour", client.shell_words("status"))
    for session, coloured in (("plain", False), ("colour", True)):
        operator_tmux.wait_for_text(session, "[status 0]")
        assert ("\x1b[31m" in operator_tmux.screen(session, "-e")) is coloured


def test_on_a_terminal_one_agent_is_shown_without_empty_fields(client: Client, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("s", client.shell_words("status", "builder"))
    screen = operator_tmux.wait_for_text("s", "[status 0]")
    assert "last exit" in screen
    assert "deadline" not in screen


def test_watch_follows_changes_in_place_and_ends_on_interrupt_with_status_0(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    operator_tmux.session("s", client.shell_words("status", "--watch"), rows=12)
    operator_tmux.wait_for_text("s", 'no "agent" on PATH')
    source.statuses = [replace(RUNNING, name=f"worker-{n:02}", session="w") for n in range(40)]
    screen = operator_tmux.wait_for_text("s", "worker-00")
    assert 'no "agent"' not in screen
    assert screen.splitlines()[-1].endswith("more lines")
    assert len(screen.splitlines()) == 12
    source.statuses = []
    screen = operator_tmux.wait_for_text("s", "no agents")
    assert "worker" not in screen
    operator_tmux("send-keys", "-t", "=s:", "C-c")
    screen = operator_tmux.wait_for_text("s", "[status 0]")
    assert "no agents" in screen, "what was last seen stays"


@pytest.mark.thorough
def test_watch_fits_itself_to_a_terminal_that_changes_its_size(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.statuses = [replace(RUNNING, name=f"worker-{n:02}") for n in range(40)]
    operator_tmux.session("s", client.shell_words("status", "--watch"), rows=12)
    operator_tmux.wait_for_text("s", "more lines")
    operator_tmux("resize-window", "-t", "=s:", "-y", "60")
    screen = operator_tmux.wait_for_text("s", "worker-39")
    assert "more lines" not in screen


@pytest.mark.thorough
def test_watch_survives_a_daemon_that_goes_away(client: Client, operator_tmux: TmuxServer) -> None:
    operator_tmux.session("s", client.shell_words("status", "--watch"))
    operator_tmux.wait_for_text("s", "reviewer-0")
    aside = client.api_socket.rename(client.folder / "aside.sock")
    operator_tmux.wait_for_text("s", f"agentd is not reachable on {client.api_socket}")
    aside.rename(client.api_socket)
    operator_tmux.wait_for_text("s", "reviewer-0")


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_watch_needs_a_terminal_and_has_no_json(client: Client, extra: tuple[str, ...]) -> None:
    assert client("status", "--watch", *extra).status == 2


def test_a_reader_that_stops_reading_ends_it_without_a_word(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, name=f"a{n}", error="x" * 1000) for n in range(500)]
    process = client.start("status")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(30) == 128 + signal.SIGPIPE


HEAVY = {"aiohttp", "asyncio", "pydantic", "libtmux", "rich", "tomlkit", "structlog", "http.client", "watchfiles"}


@pytest.mark.parametrize(
    "arguments",
    everyday([["status"], ["plan"]], [["--help"], ["status"], ["list"], ["status", "reviewer-0"], ["plan"]]),
)
def test_reading_the_api_imports_nothing_heavy(client: Client, arguments: list[str]) -> None:
    # Start-up time is nearly all imports: 45 ms here, 200 ms and more with any of these.
    done = client(*arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported
    assert not imported & HEAVY


def test_what_cannot_be_recorded_is_said_above_the_table(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    journal = RecordingHealth("failing", "no space", 4096, 2)
    source.health_now = replace(HEALTH, recording=replace(HEALTH.recording, journal=journal))
    operator_tmux.session("op", client.shell_words("status"), columns=150)
    screen = operator_tmux.wait_for_text("op", "[status 0]")
    assert "journal: failing: no space" in screen
    assert "transcripts:" not in screen


def test_what_a_sandbox_lets_the_agent_do_is_said(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.statuses = [replace(RUNNING, type="sandboxed", sandbox=SANDBOX), replace(FAILED, sandbox=None)]
    assert dict(client("status", "reviewer-0").rows)["sandbox"] == (
        "bubblewrap; may read the system, /home/agent/.gitconfig; may write /srv/ü b, /srv/cache, "
        "objects, refs and logs of /srv/shop, its home in /home/agent/.local/share/agentd/sandboxes/nightly; "
        "may reach api.example.com:443; secrets TOKEN; may use KEY at api.example.com:443"
    )
    assert dict(client("status", "Builder").rows)["sandbox"] == "-"
    document = client("status", "reviewer-0", "--json").document
    assert isinstance(document, dict)
    assert document["sandbox"] == asdict(SANDBOX)
    operator_tmux.session("s", client.shell_words("status", "reviewer-0"))
    shown = operator_tmux.wait_for_text("s", "[status 0]")
    assert re.search(r"^may reach +api.example.com:443$", shown, re.MULTILINE)
    assert re.search(r"^secrets +TOKEN$", shown, re.MULTILINE)


def test_a_daemon_that_answers_but_does_nothing_is_never_well(
    client: Client, source: MemorySource, operator_tmux: TmuxServer
) -> None:
    source.health_now = replace(HEALTH, problem="a pass has not ended for 12s, it reads\x1b[2J")
    done = client("status")
    assert (done.status, len(done.rows)) == (1, 2)
    assert done.err == "agentctl: a pass has not ended for 12s, it reads\\x1b[2J\n"
    done = client("status", "--json")
    assert done.status == 1
    document = cast("dict[str, dict[str, object]]", done.document)
    assert document["daemon"]["problem"] == source.health_now.problem
    assert client("status", "builder").status == 0
    operator_tmux.session("s", client.shell_words("status"))
    assert "  problem: a pass has not ended for 12s" in operator_tmux.wait_for_text("s", "[status 1]")

"""``agentctl fleet``, and ``--fleet`` of other commands, against a stand-in for agentd-fleet."""

from __future__ import annotations

import json
import os
import pwd
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.fleet.progress import Progress, progress_file, write_progress
from agentd.fleet.protocol import HostState, PlacedView, Placement
from agentd.model.events import Event, EventKind
from agentd.process.identity import ProcessIdentity
from agentd.settings.sockets import fleet_socket, turns_socket
from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer, answering
from tests.support.daemon import program
from tests.support.fleet_stand_in import FLEET, HOST, PLAN, FleetStandIn, standing_in
from tests.support.transcripts import files_in, keep
from tests.support.waiting import wait_for

NAME = RUNNING.name
PENDING = PlacedView("nightly", Placement.PENDING, None, None, "h1: no room (slots)")


@pytest.fixture
def fleet(client: Client, source: MemorySource) -> Iterator[FleetStandIn]:
    """A fleet of one host that answers, with one agent, and one that is pending."""
    source.statuses = [RUNNING]
    placed = [PENDING, PlacedView(NAME, Placement.PLACED, "h1", None, "")]
    lost = replace(HOST, name="h2", state=HostState.LOST, agents=0, address=None, note="silent for 7 s")
    stand_in = FleetStandIn(client.api_socket, hosts=[HOST, lost], placed=placed)
    with standing_in(stand_in, fleet_socket(client.api_socket)):
        yield stand_in


@pytest.fixture
def jcard(client: Client) -> Path:
    path = client.folder / "fleet.toml"
    path.write_text('[[agents]]\nname = "w"\nharness = "codex"\nreplicas = 3\n')
    return path


# -- fleet


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("plan",), "/v1/fleet/plan"),
        (("apply", "--dry-run"), "/v1/fleet/plan"),
        (("apply",), "/v1/fleet/apply"),
    ],
)
def test_a_jcard_is_handed_over(
    client: Client, fleet: FleetStandIn, jcard: Path, words: tuple[str, ...], path: str
) -> None:
    done = client("fleet", *words, jcard)
    assert fleet.posted == [(path, {"jcard": jcard.read_text(), "path": str(jcard)})]
    assert (done.status, done.err) == (0, "agentctl: warning: jcard.toml:1:1: a warning\n")
    assert done.rows == [
        ["+", "start", "a-0", "h1", "-", "-"],
        ["~", "move", "a-1", "h1", "h2", "h2 is drained"],
        ["?", "pending", "a-3", "-", "-", "2 hosts: no room (slots)"],
        ["-", "remove", "a-4", "-", "h1", "it is wished for no more"],
    ]


def test_a_plan_shows_all_if_that_is_asked_for(client: Client, fleet: FleetStandIn, jcard: Path) -> None:
    assert ["=", "stay", "a-2", "h1", "-", "-"] in client("fleet", "plan", "--all", jcard).rows
    document = client("fleet", "plan", jcard, "--json").document
    assert isinstance(document, dict)
    assert [each["step"] for each in document["assignments"]] == ["start", "move", "stay", "pending", "remove"]
    assert (document["applied"], document["warnings"]) == (False, PLAN.warnings)
    assert len(fleet.posted) == 2


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("drain", "h1"), "/v1/fleet/drain", {"host": "h1"}),
        (("uncordon", "h1"), "/v1/fleet/uncordon", {"host": "h1"}),
        (("forget", "h1"), "/v1/fleet/forget", {"host": "h1"}),
        (("rebalance",), "/v1/fleet/rebalance", {"dry_run": False}),
        (("rebalance", "--dry-run"), "/v1/fleet/rebalance", {"dry_run": True}),
    ],
)
def test_hosts_are_drained_and_evened_out(
    client: Client, fleet: FleetStandIn, words: tuple[str, ...], path: str, body: object
) -> None:
    done = client("fleet", *words)
    assert (done.status, fleet.posted) == (0, [(path, body)])
    assert done.rows[0][1] == "start"


def test_hosts_are_listed(client: Client, fleet: FleetStandIn) -> None:
    done = client("fleet", "hosts")
    assert done.rows == [
        ["h1", "ready", "2", "2/50", "1.5/16", "2GiB/64GiB", "-", "zone=a", "0.1.0", "10.0.0.1", "-"],
        ["h2", "lost", "0", "2/50", "1.5/16", "2GiB/64GiB", "-", "zone=a", "0.1.0", "-", "silent for 7 s"],
    ]
    assert client("fleet", "hosts", "--field", "1.note").out == "silent for 7 s\n"
    fleet.hosts.clear()
    assert client("fleet", "hosts").out == ""


def test_the_fleet_shows_where_agents_are_to_be(client: Client, fleet: FleetStandIn) -> None:
    assert client("fleet", "status").rows == [
        ["nightly", "pending", "-", "-", "h1: no room (slots)"],
        [NAME, "placed", "h1", "-", "-"],
    ]
    document = client("fleet", "status", "--json").document
    assert isinstance(document, dict)
    assert document["fleet"]["jcard"] == fleet.fleet.jcard
    assert [len(document[name]) for name in ("hosts", "agents")] == [2, 2]


@pytest.mark.thorough
def test_on_a_terminal_the_fleet_is_summed_up(
    client: Client, fleet: FleetStandIn, jcard: Path, operator_tmux: TmuxServer
) -> None:
    operator_tmux.session("op", client.shell_words("fleet", "status", NO_COLOR="1"), columns=200)
    shown = operator_tmux.wait_for_text("op", "[status 0]")
    assert "fleet 0.1.0 on h1: 1 of 2 hosts ready, 3 agents, 2 placed, 1 pending\n" in shown
    assert "jcard jcard.toml, revision 3, applied 2026-01-31T09:10:00Z\n  warning: h2 is lost\n" in shown
    assert "NAME  STATE  AGENTS" in shown
    assert f"{NAME}  placed" not in shown
    operator_tmux.session("plan", client.shell_words("fleet", "plan", str(jcard), NO_COLOR="1"), columns=200)
    shown = operator_tmux.wait_for_text("plan", "[status 0]")
    assert "5 agents: 1 to start, 1 to move, 1 to remove, 1 pending, 1 as they are\n" in shown
    fleet.fleet = replace(FLEET, jcard=None, applied_at=None)
    operator_tmux.session("status", client.shell_words("status", "--fleet", NO_COLOR="1"), columns=200)
    shown = operator_tmux.wait_for_text("status", "[status 0]")
    assert "no jcard has been applied: agentctl fleet apply FILE" in shown
    assert "NAME        HOST  STATE" in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("plan",), "fleet plan needs a FILE"),
        (("drain",), "fleet drain needs a HOST"),
        (("hosts", "h1"), "fleet hosts takes no"),
        (("apply", "x", "--hosts", "y"), "--hosts is for plan"),
        (("drain", "h1", "--dry-run"), "fleet drain has no --dry-run"),
        (("dance",), "invalid choice: 'dance'"),
    ],
)
def test_what_is_no_command_is_refused(client: Client, words: tuple[str, ...], reason: str) -> None:
    done = client("fleet", *words)
    assert done.status == 2
    assert reason in done.err


def test_errors_of_the_fleet_are_told(client: Client, fleet: FleetStandIn, jcard: Path) -> None:
    fleet.refusal = (422, "j.toml:1:1: one\nj.toml:2:1: two")
    done = client("fleet", "apply", jcard)
    assert (done.status, done.err) == (1, "agentctl: j.toml:1:1: one; j.toml:2:1: two\n")
    fleet.refusal = (503, "the Controller does not answer")
    assert client("fleet", "drain", "h1").err == "agentctl: the Controller does not answer\n"
    fleet.refusal = (404, "there is no host h7")
    assert client("fleet", "drain", "h7", "--json").document == {"error": "there is no host h7"}
    assert client("fleet", "apply", client.folder / "none.toml").status == 1
    assert "expected one jcard" in client("fleet", "apply", client.folder).err


def test_without_a_fleet_that_is_said(client: Client, source: MemorySource) -> None:
    source.statuses = [RUNNING]
    where = fleet_socket(client.api_socket)
    for words in (("fleet", "hosts"), ("status", "--fleet"), ("list", "--fleet"), ("screen", "--fleet", NAME)):
        done = client(*words)
        assert done.status == 3
        assert done.err == (
            f"agentctl: agentd-fleet is not reachable on {where}: there is no such socket; start agentd-fleet head or "
            "join beside this agentd\n"
        )


def test_an_agentd_fleet_that_does_not_answer_yet_has_said_why(client: Client) -> None:
    where = fleet_socket(client.api_socket)
    begins = f"agentctl: agentd-fleet is not reachable on {where}: there is no such socket; "
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    assert own.started is not None
    waits = Progress(own.pid, own.started, "Ray to start", time.time() + 600, 180.0)
    for progress, ends in (
        (waits, "agentd-fleet has waited for Ray to start for 0s, and gives up after 3m"),
        # Another process has its pid by now.
        (replace(waits, started=own.started - 1), "agentd-fleet was killed, and waited for Ray to start"),
        (replace(waits, doing="", failed="Ray has ended"), "agentd-fleet ended 0s ago: Ray has ended"),
    ):
        write_progress(progress_file(where), progress)
        done = client("fleet", "status")
        assert (done.status, done.err) == (3, f"{begins}{ends}\n")
    for text in ("", "[]", "{}", '{"pid": "", "started": 0, "doing": 1, "since": 0, "limit": 0, "failed": ""}'):
        progress_file(where).write_text(text)
        assert client("fleet", "status").err == f"{begins}start agentd-fleet head or join beside this agentd\n"


# -- without asking anybody


def test_a_plan_for_hosts_of_a_file_asks_nobody(client: Client, jcard: Path) -> None:
    hosts = client.folder / "hosts.toml"
    hosts.write_text('[[hosts]]\nname = "a"\nslots = 1\n\n[[hosts]]\nname = "b"\nslots = 1\ncpus = 4\n')
    done = client("fleet", "plan", jcard, "--hosts", hosts)
    assert (done.status, done.err) == (0, "")
    assert done.rows == [
        ["+", "start", "w-0", "a", "-", "-"],
        ["+", "start", "w-1", "b", "-", "-"],
        ["?", "pending", "w-2", "-", "-", "a, b: no room (slots)"],
    ]


def test_the_hosts_that_a_fleet_shows_are_such_a_file(client: Client, fleet: FleetStandIn, jcard: Path) -> None:
    hosts = client.folder / "hosts.json"
    hosts.write_text(client("fleet", "hosts", "--json").out)
    assert [row[3] for row in client("fleet", "plan", jcard, "--hosts", hosts).rows] == ["h1"] * 3
    assert fleet.posted == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are no hosts in it; expected [[hosts]] with name and slots"),
        ("[[hosts]]\n", "hosts[0]: name: missing, expected [[hosts]]"),
        ('[[hosts]]\nname = "a"\nslots = -1\n', "hosts[0]: slots: found -1"),
        ('[[hosts]]\nname = "a b"\nslots = 1\n', 'hosts[0]: name: found "a b", expected the name of a host'),
        ('[[hosts]]\nname = "a"\nslots = 1\nslot = 2\n', "hosts[0]: slot: unknown key, expected one of name, slots"),
        ('[[hosts]]\nname = "a"\nslots = 1\n[[hosts]]\nname = "a"\nslots = 1\n', 'found "a" twice'),
        ('hosts = ["a"]\n', 'hosts[0]: found "a", expected'),
        ("[[hosts\n", "expected hosts in TOML or JSON"),
        ("[{]", "expected hosts in TOML or JSON"),
    ],
)
def test_a_file_of_hosts_that_is_wrong_is_refused(client: Client, jcard: Path, text: str, reason: str) -> None:
    hosts = client.folder / "hosts.toml"
    hosts.write_text(text)
    done = client("fleet", "plan", jcard, "--hosts", hosts)
    assert done.status == 1
    assert done.err.startswith(f"agentctl: {hosts}: ")
    assert reason in done.err


def test_a_jcard_that_is_wrong_is_planned_for_nobody(client: Client, jcard: Path) -> None:
    hosts = client.folder / "hosts.toml"
    hosts.write_text('[[hosts]]\nname = "a"\nslots = 1\n')
    jcard.write_text('[agent]\nharness = "codex"\nplace = { slots = 0 }\n')
    done = client("fleet", "plan", jcard, "--hosts", hosts)
    assert (done.status, done.err.endswith("place.slots: found 0, expected at least 1\n")) == (1, True)
    missing = client("fleet", "plan", jcard, "--hosts", client.folder / "none")
    assert "cannot be read: No such file or directory" in missing.err


# -- --fleet


@pytest.mark.usefixtures("fleet")
def test_agents_are_shown_with_their_hosts(client: Client) -> None:
    rows = client("status", "--fleet").rows
    assert [(row[0], row[1], row[-1]) for row in rows] == [("nightly", "pending", "-"), (NAME, "running", "h1")]
    assert "h1: no room (slots)" in rows[0]
    assert client("list", "--fleet").rows == [[NAME, "claude-code", "native", NAME, RUNNING.workdir, "h1"]]
    listed = client("list", "--fleet", "--json").document
    assert isinstance(listed, list)
    assert listed[0]["host"] == "h1"
    document = client("status", "--fleet", "--json").document
    assert isinstance(document, dict)
    assert [each["host"] for each in document["agents"]] == ["h1"]
    assert [each["name"] for each in document["placed"]] == ["nightly", NAME]


@pytest.mark.usefixtures("fleet")
def test_one_agent_is_shown_with_its_host(client: Client) -> None:
    assert ["host", "h1"] in client("status", "--fleet", NAME.upper()).rows
    assert client("status", "--fleet", "nightly").rows == [["nightly", "pending", "-", "-", "h1: no room (slots)"]]
    done = client("status", "--fleet", "nobody")
    assert (done.status, "there is no agent" in done.err) == (1, True)


@pytest.mark.usefixtures("fleet")
def test_whoever_needs_somebody_is_shown_first(client: Client, source: MemorySource) -> None:
    source.statuses = [replace(RUNNING, activity=None), replace(RUNNING, name="zoe", activity=None, state="failed")]
    assert [row[0] for row in client("status", "--fleet").rows] == ["nightly", NAME, "zoe"]
    assert [row[0] for row in client("status", "--fleet", "--attention").rows] == ["zoe", NAME, "nightly"]
    document = client("status", "--fleet", "--attention", "--json").document
    assert isinstance(document, dict)
    assert [each["name"] for each in document["agents"]] == ["zoe", NAME]
    assert client("status", "--fleet", "--watch").status == 2


def test_a_fleet_is_watched_while_its_controller_is_away_too(
    client: Client, fleet: FleetStandIn, operator_tmux: TmuxServer
) -> None:
    operator_tmux.session("s", client.shell_words("status", "--fleet", "--watch", NO_COLOR="1"), columns=200)
    operator_tmux.wait_for_text("s", "3 agents, 2 placed, 1 pending")
    fleet.answers = {("GET", "/v1/fleet/agents"): (503, {"error": "the Controller does not answer"})}
    shown = operator_tmux.wait_for_text("s", "the Controller does not answer")
    assert "nightly" not in shown
    fleet.answers = {}
    operator_tmux.wait_for_text("s", "nightly")
    operator_tmux("send-keys", "-t", "=s:", "C-c")
    assert "nightly" in operator_tmux.wait_for_text("s", "[status 0]")


@pytest.mark.usefixtures("fleet")
def test_output_and_states_are_those_of_the_agents_host(client: Client) -> None:
    keep(files_in(client.folder / "state"), NAME, b"one\r\ntwo\r\n")
    assert client("logs", "--fleet", NAME).out == "one\ntwo\n"
    assert client("wait", "--fleet", NAME, "--for", "running").out == f"{NAME} is running\n"


def test_events_name_the_host(client: Client) -> None:
    with answering(MemorySource(), client.api_socket) as tell:
        tell(Event(EventKind.EXITED, NAME, "exit status 3", {"state": "failed"}))
        wait_for(lambda: client("events").rows, what="the event is kept")
        stand_in = FleetStandIn(client.api_socket)
        with standing_in(stand_in, fleet_socket(client.api_socket)):
            [row] = client("events", "--fleet").rows
            assert row[-1] == "host=h1 state=failed"


def turn(name: str, activity: str) -> dict[str, object]:
    return {"agent": name, "activity": activity, "activity_source": "hooks", "conversation": "c", "requests": []}


def test_a_message_is_delivered_by_the_agents_host(client: Client, fleet: FleetStandIn) -> None:
    base = f"/v1/turns/{NAME}"
    message = {"message": {"id": "m1", "status": "started", "turn": "t1"}}
    fleet.answers = {
        ("GET", base): (200, turn(NAME, "idle")),
        ("POST", f"{base}/messages"): (200, message),
        ("GET", f"{base}/messages/m1"): (200, message),
    }
    done = client("send", "--fleet", NAME, "--id", "m1", "hello")
    assert (done.status, done.out) == (0, f"5 characters to {NAME}: recorded\n")
    assert (f"{base}/messages", {"id": "m1", "text": "hello", "expires_s": None}) in fleet.posted


def test_nothing_is_typed_over_the_network(client: Client, fleet: FleetStandIn) -> None:
    fleet.answers = {("GET", f"/v1/turns/{NAME}"): (200, turn(NAME, "unknown"))}
    done = client("send", "--fleet", NAME, "hello")
    assert done.status == 1
    assert f"nothing is typed over the network: agentctl attach --fleet {NAME}" in done.err
    assert client("send", "--fleet", "--force", NAME, "hello").status == 2


def test_the_sockets_of_a_fleet_are_one(tmp_path: Path) -> None:
    path = fleet_socket(tmp_path / "agentd.sock")
    assert (path.name, turns_socket(path)) == ("agentd.sock.fleet", path)


# -- by ssh


def test_attach_runs_there_by_ssh(client: Client, fleet: FleetStandIn) -> None:
    document = client("attach", "--fleet", NAME, "--json").document
    argv = ["ssh", "-t", "10.0.0.1", f"agentctl attach {NAME}"]
    assert document == {"name": NAME, "host": "h1", "argv": argv}
    other = {"AGENTD_FLEET_SSH": "rsh -p '2 2'", "AGENTD_FLEET_AGENTCTL": "sudo agentctl"}
    found = client("attach", "--fleet", NAME, "--field", "argv", **other)
    assert json.loads(found.out) == ["rsh", "-p", "2 2", "10.0.0.1", f"sudo agentctl attach {NAME}"]
    assert "has no host: h1: no room (slots)" in client("attach", "--fleet", "nightly").err
    assert "there is no agent" in client("attach", "--fleet", "nobody").err
    assert "attach needs a terminal" in client("attach", "--fleet", NAME).err
    assert "is empty" in client("attach", "--fleet", NAME, "--json", AGENTD_FLEET_SSH=" ").err
    fleet.placed[1] = PlacedView(NAME, Placement.LEAVING, None, "h1", "")
    assert client("attach", "--fleet", NAME, "--field", "host").out == "h1\n"
    fleet.hosts[0] = replace(HOST, address="-oProxyCommand=x")
    assert "ssh would take for an option" in client("attach", "--fleet", NAME, "--json").err


@pytest.mark.usefixtures("fleet")
def test_attach_becomes_ssh(client: Client, operator_tmux: TmuxServer) -> None:
    words = client.shell_words("attach", "--fleet", NAME, AGENTD_FLEET_SSH="echo became")
    operator_tmux.session("op", words)
    assert f"became 10.0.0.1 agentctl attach {NAME}\n" in operator_tmux.wait_for_text("op", "[status 0]")


OUTSIDE = 'import sys, tarfile; tarfile.open(fileobj=sys.stdout.buffer, mode="w|").addfile(tarfile.TarInfo("../y"))'
"""Writes an archive with a file outside of it."""

SSH = """\
#!/bin/sh
shift
exec sh -c "$*"
"""


@pytest.fixture
def ssh(client: Client) -> Path:
    """What runs commands here instead of on another host."""
    path = client.folder / "ssh"
    path.write_text(SSH)
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("fleet")
def test_work_is_collected_there_and_brought_here(client: Client, source: MemorySource, ssh: Path) -> None:
    user, data_dir = pwd.getpwuid(os.geteuid()).pw_name, str(client.folder / "data")
    source.plan_now = replace(source.plan_now, agent_user=user, data_dir=data_dir)
    keep(files_in(client.folder / "state"), NAME, b"one\r\n")
    there = {"AGENTD_FLEET_SSH": str(ssh), "AGENTD_FLEET_AGENTCTL": program("agentctl")}
    folder = client.folder / "work"
    done = client("collect", "--fleet", NAME, "--output", folder, **there)
    assert (done.status, done.out) == (0, f"{folder}\n"), done.err
    assert (folder / "transcript.txt").read_text() == "one\n"
    assert json.loads((folder / "manifest.json").read_text())["name"] == NAME
    again = client("collect", "--fleet", NAME, "--output", folder, **there)
    assert (again.status, "exists; name another folder" in again.err) == (1, True)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo it broke >&2; exit 7", "failed with status 7; its error is above"),
        ("echo what is this", "is no archive"),
        (f"{sys.executable} -c '{OUTSIDE}'", "outside of it"),
    ],
)
def test_what_goes_wrong_there_leaves_nothing_here(client: Client, ssh: Path, script: str, reason: str) -> None:
    ssh.write_text(f"#!/bin/sh\n{script}\n")
    folder = client.folder / "work"
    done = client("collect", "--fleet", NAME, "--output", folder, AGENTD_FLEET_SSH=str(ssh))
    assert (done.status, folder.exists()) == (1, False)
    assert reason in done.err
    missing = client("collect", "--fleet", NAME, "--output", folder, AGENTD_FLEET_SSH="/no/ssh")
    assert "/no/ssh: No such file or directory; set AGENTD_FLEET_SSH" in missing.err

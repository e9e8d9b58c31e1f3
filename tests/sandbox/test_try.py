"""``agentctl sandbox``: a command in the sandbox that an agent's next launch would have."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agentd.cli.agentctl.boxed import user_of_agents
from agentd.cli.agentctl.command import CommandError
from tests.cli.support import Client, TmuxServer
from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard
from tests.support.control_groups import control_groups
from tests.support.daemon import LimitJson
from tests.support.waiting import WaitError, wait_for

LOOK = "cut -d' ' -f5,6 /proc/self/mountinfo; grep -E 'Cap|Seccomp|NoNew' /proc/self/status; id; pwd; ls ~ | wc -l"
ENVIRONMENT = "env | grep -v -e ^AGENTD_RUN_ID= -e ^TERM= -e ^_= | sort"


@pytest.fixture
def running(sandboxed: Sandboxed) -> Sandboxed:
    """A daemon with a sandboxed agent that wrote down what it sees, and a native one."""
    for name in ("TOKEN", "OTHER"):
        sandboxed.daemon.write_secret(name, f"s3cret-{name}")
    other = sandboxed.daemon.folder / "other"
    other.mkdir()
    sandboxed.give(other)
    script = f"{{ {LOOK}; {ENVIRONMENT}; }} >seen.part; mv seen.part seen; exec sleep 600"
    agent = {
        "name": "a",
        "type": "sandboxed",
        "command": ["sh", "-c", script],
        "workdir": "work",
        "env": {"LEVEL": "3"},
    }
    sandboxed.start(
        jcard(
            {**agent, "env": {"LEVEL": "3"}, "ports": ["PORT"], "secrets": ["TOKEN"], "network": "none"},
            {"name": "n", "command": ["sleep", "600"], "workdir": "other"},
        )
    )
    sandboxed.daemon.wait_for((sandboxed.daemon.workdir / "seen").exists, what="it has looked around")
    return sandboxed


@pytest.fixture
def client(running: Sandboxed) -> Client:
    """The client of that daemon."""
    daemon = running.daemon
    return Client(daemon.folder, daemon.places)


@pytest.fixture
def operator(client: Client) -> Iterator[TmuxServer]:
    """A terminal to run the client in."""
    server = TmuxServer(client.folder / "op.sock")
    yield server
    server.close()


def of_interest(text: str, running: Sandboxed) -> list[str]:
    """All but the console, which is the agent's terminal, what others mount meanwhile, and the run's own socket."""
    ours = f"{running.daemon.folder}/"
    lines = [line for line in text.splitlines() if not line.startswith("/dev/") or line.startswith(ours)]
    return [line for line in lines if not line.startswith(("/run/agentd/hooks ", "AGENTD_HOOK="))]


def test_it_sees_what_the_agent_sees(running: Sandboxed, client: Client) -> None:
    done = client("sandbox", "A", "--", "sh", "-c", f"{LOOK}; {ENVIRONMENT}")
    assert (done.status, done.err) == (0, "")
    seen = (running.daemon.workdir / "seen").read_text()
    assert of_interest(done.out, running) == of_interest(seen, running)
    assert "TOKEN=s3cret-TOKEN" in done.out
    assert "s3cret-OTHER" not in done.out


@pytest.mark.thorough
def test_pipes_and_the_exit_status_are_the_commands(client: Client) -> None:
    piped = client.shell("echo up | agentctl sandbox a -- sh -c 'tr a-z A-Z; echo wrong >&2; exit 7'")
    assert (piped.out, piped.err, piped.status) == ("UP\n", "wrong\n", 7)
    assert client("sandbox", "a", "--", "sh", "-c", "kill -KILL $$").status == 128 + signal.SIGKILL
    assert client.shell("echo 'echo in a $0' | agentctl sandbox a").out == "in a /bin/sh\n"
    assert client("sandbox", "a", "--", "./not-there").status == 127


@pytest.mark.thorough
def test_at_a_terminal_it_is_resized_and_interrupted(client: Client, operator: TmuxServer) -> None:
    operator.session("s", client.shell_words("sandbox", "a"))
    operator.wait_for_text("s", "$")
    operator("send-keys", "-t", "=s:0", "stty size; sleep 600", "Enter")
    operator.wait_for_text("s", "30 120")
    operator("resize-window", "-t", "=s:0", "-x", "90", "-y", "20")

    def interrupted() -> bool:
        operator("send-keys", "-t", "=s:0", "C-c")
        # A second one that comes after the prompt takes with it what is typed there.
        with contextlib.suppress(WaitError):
            return wait_for(lambda: operator.screen("s").rstrip().endswith(("$", "#")), 10)
        return False

    wait_for(interrupted, 30, what="it was interrupted")
    operator("send-keys", "-t", "=s:0", "stty size; echo $((40 + 2)); exit 5", "Enter")
    shown = operator.wait_for_text("s", "[status 5]")
    assert "20 90" in shown
    assert "42" in shown


@pytest.mark.thorough
def test_a_signal_is_passed_on_and_nothing_outlives_it(running: Sandboxed, client: Client) -> None:
    ready = running.daemon.workdir / "ready"
    script = "trap 'echo told >>ready; exit 3' TERM; echo $$ >ready; while :; do sleep 0.05; done"
    started = client.start("sandbox", "a", "--", "sh", "-c", script)
    wait_for(ready.exists, what="it runs")
    started.terminate()
    started.communicate(timeout=30)
    assert started.returncode == 3
    assert ready.read_text().endswith("told\n")
    ready.unlink()
    started = client.start("sandbox", "a", "--", "sh", "-c", script)
    wait_for(ready.exists, what="it runs")
    below = psutil.Process(started.pid).children(recursive=True)
    assert below
    opened = [each.readlink() for each in Path(f"/proc/{started.pid}/fd").iterdir()]
    (folder,) = [each for each in opened if each.name.startswith("agentctl-sandbox-")]
    started.kill()
    started.communicate(timeout=30)
    assert not psutil.wait_procs(below, timeout=30)[1]
    # Nobody is left to remove it.
    shutil.rmtree(folder)


@pytest.mark.thorough
def test_the_agents_limits_hold_it(running: Sandboxed, client: Client) -> None:
    daemon = running.daemon
    text = daemon.jcard.read_text().replace("type = ", "pid_limit = 20\ntype = ", 1)
    daemon.write_jcard(text)

    def taken() -> LimitJson | None:
        limits = daemon.wait_state("a", "running")["limits"]
        limit = None if limits is None else limits["pid_limit"]
        return limit if limit is not None and limit["value"] == 20 else None

    limit = daemon.wait_for(taken, what="the limit is taken")
    script = "for i in $(seq 40); do sleep 5 & done; jobs | wc -l"
    started = client.start("sandbox", "a", "--", "sh", "-c", script)
    said = started.communicate(timeout=30)[1]
    if limit["enforced_by"] is None:
        assert "not held to pid_limit" in said
    else:
        assert "not held" not in said
        assert "fork" in said
    assert control_groups(f"try-{started.pid}") == []


def test_what_would_be_run_is_shown_without_a_secret(client: Client) -> None:
    document = client("sandbox", "a", "--json", "--", "true").document
    assert isinstance(document, dict)
    assert (document["agent"], document["argv"]) == ("a", ["true"])
    assert {"TOKEN", "LEVEL"} <= set(document["environment"])
    assert document["sandbox"]["network"] == "none"
    assert "--unshare-net" in document["command"]
    assert document["missing_secrets"] == []
    shown = client("sandbox", "a", "--dry-run").out
    assert "--unshare-net" in shown
    assert "s3cret" not in shown + str(document)


def test_what_cannot_be_tried_is_said(running: Sandboxed, client: Client) -> None:
    def error(*arguments: str) -> str:
        done = client("sandbox", *arguments)
        assert done.status in (1, 2)
        return done.err

    assert '"n" is native: it runs without a sandbox' in error("n", "--", "true")
    assert 'there is no agent "ab": did you mean a?' in error("ab")
    assert "write -- before the command" in error("a", "true")
    daemon = running.daemon
    text = daemon.jcard.read_text()
    daemon.jcard.write_text(text.replace('workdir = "work"', 'workdir = "gone"'))
    assert "gone cannot be used: No such file or directory" in error("a", "--", "true")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_who_may_not_is_told_who_may() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            _ask(writing)
        except BaseException:  # noqa: BLE001 (nothing may return into the test's own process)
            os.write(writing, traceback.format_exc().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(pid, 0)
    assert "agents run as daemon: only root and daemon may run a command in their sandboxes" in text


def _ask(writing: int) -> None:
    try:
        user_of_agents("daemon")
    except CommandError as error:
        os.write(writing, str(error).encode())

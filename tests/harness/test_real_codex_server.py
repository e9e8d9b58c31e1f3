"""The real Codex and its app server: one run, two processes, and one conversation that two talk in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from agentd.process.background import serves
from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import ask, ended, turns, view, wait_activity, wait_outcomes

pytestmark = REAL

CODEX = next(cli for cli in REAL_CLIS if cli.harness == "codex")
ESCALATED = (
    'STUB-TOOL:exec_command {{"cmd":"touch {0}","sandbox_permissions":"require_escalated",'
    '"justification":"May I touch it?"}}'
)


@pytest.fixture
def cli() -> RealCli:
    if not CODEX.package.installed:
        pytest.skip("codex is not installed; run tests/harness/install-clis codex")
    return CODEX


def processes(run_id: str) -> dict[str, psutil.Process]:
    """The run's two, by what they are."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("AGENTD_RUN_ID") == run_id:
                words = process.cmdline()
                if "app-server" in words or "--remote" in words:
                    found["server" if "app-server" in words else "terminal"] = process
        except psutil.Error:
            continue
    return found


def test_requests_are_decided_here_or_at_the_terminal(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(args=["-a", "on-request"])
    wait_activity(driven, "idle")

    denied, typed = ESCALATED.format(daemon.workdir / "denied"), ESCALATED.format(daemon.workdir / "typed")
    ask(driven, denied)
    assert wait_activity(driven, "waiting_permission")["activity_text"] == f"touch {daemon.workdir}/denied"
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "deny"})[0] == 200
    assert ended(driven, denied)["outcome"] == "completed"
    assert not (daemon.workdir / "denied").exists()

    ask(driven, typed)
    wait_activity(driven, "waiting_permission")
    driven.wait_on_screen("Would you like to run the following command?")
    agentctl(driven, "keys", "agent", "y")
    assert ended(driven, typed)["outcome"] == "completed"
    assert (daemon.workdir / "typed").exists()
    assert view(driven)["requests"] == []
    wait_activity(driven, "idle")

    ask(driven, "typed by a person")
    assert ended(driven, "typed by a person")["text"] == "STUB-REPLY: typed by a person"
    daemon.wait_for(lambda: turns(driven, "turn_usage") == 3, DEADLINE, what="usage is told for each turn")
    wait_outcomes(driven, "completed", "completed", "completed")


def test_messages_are_delivered_one_after_the_other(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    for number in range(3):
        message = {"id": f"m{number}", "text": f"message {number}\nof two lines"}
        assert post(daemon, "/v1/turns/agent/messages", message)[0] == 202

    def outcome(number: int) -> object:
        found = post(daemon, f"/v1/turns/agent/messages/m{number}", method="GET")[1]
        assert isinstance(found, dict)
        return found["message"]["outcome"], found["message"]["final_text"]

    for number in range(3):
        answer = f"STUB-REPLY: message {number}\nof two lines"
        daemon.wait_for(
            lambda n=number, answer=answer: outcome(n) == ("completed", answer),  # type: ignore[misc]
            DEADLINE,
            what=f"message {number} is answered",
        )
    driven.wait_on_screen("message 2")


def test_a_prompt_is_the_first_turn(driven: DrivenCli) -> None:
    driven.declare(mode="interactive", prompt="say this first")
    driven.daemon.wait_state("agent", "running", timeout=DEADLINE)
    assert ended(driven, "say this first")["text"] == "STUB-REPLY: say this first"
    assert wait_activity(driven, "idle")["activity_source"] == "app-server"
    wait_outcomes(driven, "completed")


def test_a_server_that_is_killed_comes_back(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    run_id = driven.run_id()
    ask(driven, "STUB-SLEEP:60")
    server = processes(run_id)["server"]
    server.kill()
    wait_outcomes(driven, "interrupted")
    ask(driven, "and now")
    assert ended(driven, "and now")["text"] == "STUB-REPLY: and now"
    assert wait_activity(driven, "idle")["activity_source"] == "app-server"
    assert driven.run_id() == run_id
    assert processes(run_id)["server"].pid != server.pid

    ask(driven, "STUB-SLEEP:61")
    daemon.kill()
    daemon.start()
    assert wait_activity(driven, "working")["activity_source"] == "app-server"
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:61")["outcome"] == "interrupted"


@pytest.mark.parametrize("way", ["keys", "kill"])
def test_the_server_ends_with_its_terminal(driven: DrivenCli, way: str) -> None:
    daemon = driven.daemon
    driven.declare()
    pid = wait_activity(driven, "idle")["pid"]
    run_id = driven.run_id()
    found = processes(run_id)
    assert pid == found["terminal"].pid
    # Nothing that it needs is a tool that still runs.
    helpers = [child.pid for child in found["terminal"].children() if child.name() == "sh"]
    assert len(helpers) == 2
    assert all(map(serves, [found["server"].pid, *helpers]))
    # What the agent runs must not ignore C-c.
    assert not _ignores(found["server"].pid, signal.SIGINT)
    if way == "keys":
        agentctl(driven, "keys", "agent", "C-c")
        daemon.wait_state("agent", "exited", timeout=DEADLINE)
    else:
        os.kill(found["terminal"].pid, signal.SIGKILL)
        daemon.wait_state("agent", "failed", timeout=DEADLINE)
    daemon.wait_for(lambda: not processes(run_id), DEADLINE, what="both have ended")


def test_the_server_ends_with_its_terminal_while_no_daemon_runs(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    run_id = driven.run_id()
    found = processes(run_id)
    daemon.kill()
    found["terminal"].kill()
    daemon.wait_for(lambda: not processes(run_id), DEADLINE, what="both have ended")
    daemon.start()
    daemon.wait_state("agent", "failed", timeout=DEADLINE)


def _ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    ignored = next(line.split()[1] for line in status if line.startswith("SigIgn:"))
    return bool(int(ignored, 16) >> (number - 1) & 1)

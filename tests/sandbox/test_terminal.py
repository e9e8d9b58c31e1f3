"""An operator in front of a sandboxed agent's terminal, and agentd, find it as they would without a sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.sandbox.conftest import Sandboxed
from tests.support.agents import jcard
from tests.support.processes import alive

NATIVE = pytest.param("native", marks=pytest.mark.thorough)
"""What is the same without a sandbox, as tests/daemon shows too."""
BOTH = pytest.mark.parametrize("kind", [NATIVE, "sandboxed", pytest.param("gvisor", marks=pytest.mark.gvisor)])

WITHOUT_GVISOR = pytest.mark.parametrize("kind", [NATIVE, "sandboxed"])
"""What gVisor does not do, as docs/sandbox.md says, or nobody sees from outside."""


def typed(kind: str) -> dict[str, object]:
    """What the jcard says of the kind."""
    return {"type": "sandboxed", "sandbox": kind} if kind == "gvisor" else {"type": kind}


def agent(kind: str, script: str, **fields: object) -> dict[str, object]:
    """An agent that executes a shell script."""
    return {"name": "a", **typed(kind), "command": ["bash", "-c", script], "workdir": "work", **fields}


@BOTH
@pytest.mark.parametrize(
    ("script", "code", "signal"),
    [
        ("exit 0", 0, None),
        ("exit 7", 7, None),
        ("kill -KILL $$; sleep 9", None, 9),
        ("kill -TERM $$; sleep 9", None, 15),
    ],
)
def test_how_it_ended_is_known(
    sandboxed: Sandboxed, kind: str, script: str, code: int | None, signal: int | None
) -> None:
    # The first process of a sandbox passes no signal on to itself: a child that dies of it is what is looked at.
    sandboxed.start(jcard(agent(kind, f"bash -c {script!r}; status=$?; exit $status" if signal else script)))
    ended = sandboxed.daemon.wait_state("a", "exited", "failed")
    assert (ended["exit_code"], ended["exit_signal"]) == (code, signal), ended["error"]


@BOTH
def test_an_interrupt_reaches_the_agent_and_nothing_else(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    script = "trap 'echo interrupted >>said' INT; echo ready >said; while :; do sleep 0.1; done"
    # It does not end by itself.
    sandboxed.start(jcard(agent(kind, script, grace_period="100ms")))
    said = daemon.workdir / "said"
    daemon.wait_for(said.exists, what="it is ready")
    daemon.tmux("send-keys", "-t", "=a:0", "C-c")
    daemon.wait_for(lambda: "interrupted" in said.read_text(), what="it was interrupted")
    assert daemon.wait_state("a", "running")["exit_code"] is None


@BOTH
def test_an_interrupt_ends_what_does_not_expect_it(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(jcard(agent(kind, "echo ready >said; exec sleep 600")))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")

    def interrupted() -> bool:
        daemon.tmux("send-keys", "-t", "=a:0", "C-c")
        status = daemon.agent("a")
        return status is not None and status["state"] == "failed"

    daemon.wait_for(interrupted, what="it was interrupted")
    assert daemon.wait_state("a", "failed")["exit_signal"] == 2


@BOTH
def test_a_stop_interrupts_then_terminates(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    traps = "trap 'echo int >>said' INT; trap 'echo term >>said; exit 0' TERM"
    script = f"{traps}; echo ready >said; while :; do sleep 0.1; done"
    sandboxed.start(jcard(agent(kind, script, grace_period="4s")))
    said = daemon.workdir / "said"
    daemon.wait_for(said.exists, what="it is ready")
    daemon.write_jcard(jcard(agent(kind, script, grace_period="4s", enabled=False)))
    daemon.wait_state("a", "disabled", timeout=30)
    assert said.read_text().split() == ["ready", "int", "term"]


@pytest.mark.gvisor
def test_nothing_of_gvisor_outlives_the_agent(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    script = "trap '' INT TERM; setsid sleep 600 & echo ready >said; while :; do sleep 0.1; done"
    sandboxed.start(jcard(agent("gvisor", script, grace_period="500ms")))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")
    pid = daemon.wait_state("a", "running")["pid"]
    assert pid is not None
    inside = psutil.Process(pid).children(recursive=True)
    assert len(inside) > 2
    daemon.write_jcard(jcard(agent("gvisor", script, grace_period="500ms", enabled=False)))
    daemon.wait_state("a", "disabled", timeout=30)
    assert not [process for process in inside if alive(process.pid)]
    assert [path.name for path in Path(f"{daemon.tmux_socket}.runs").iterdir()] == ["hints"]


@WITHOUT_GVISOR
def test_nothing_that_it_started_outlives_it(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    first = 6100 if kind == "native" else 6200
    script = (
        f"trap '' INT TERM; setsid sleep {first} & (setsid -f sleep {first + 1} </dev/null >/dev/null 2>&1); "
        f"env -i /bin/sleep {first + 2} & echo ready >said; while :; do sleep 0.1; done"
    )
    sandboxed.start(jcard(agent(kind, script, grace_period="500ms")))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")

    def sleeping() -> list[str]:
        lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
        return [line for line in lines if line.removeprefix("/bin/").startswith(f"sleep {first // 100}")]

    daemon.wait_for(lambda: len(sleeping()) == 3, what="all that it starts is there")
    daemon.write_jcard(jcard(agent(kind, script, grace_period="500ms", enabled=False)))
    daemon.wait_state("a", "disabled", timeout=30)
    assert not sleeping()


@BOTH
def test_it_sees_the_size_of_its_terminal_change(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    script = "trap 'stty size >size' WINCH; echo ready >said; while :; do sleep 0.1; done"
    sandboxed.start(jcard(agent(kind, script)))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")
    size = daemon.workdir / "size"

    def told() -> bool:
        # runsc passes no signal on in the first moment of its agent.
        daemon.tmux("resize-window", "-t", "=a:", "-x", "90", "-y", "23")
        daemon.tmux("resize-window", "-t", "=a:", "-x", "91", "-y", "23")
        return size.exists() and size.read_text() == "23 91\n"

    daemon.wait_for(told, what="it was told")


@WITHOUT_GVISOR
def test_jobs_can_be_suspended_and_taken_up_again(sandboxed: Sandboxed, kind: str) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(
        jcard({"name": "a", "type": kind, "command": ["bash", "--norc", "-i"], "workdir": "work", "env": {"PS1": "> "}})
    )
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it prompts")
    daemon.type("a", "echo through the terminal >/dev/tty; cat >/dev/null")
    daemon.wait_for(lambda: "\nthrough the terminal" in daemon.screen("a"), what="it has a terminal")

    def suspended() -> bool:
        daemon.tmux("send-keys", "-t", "=a:0", "C-z")
        return "Stopped" in daemon.screen("a")

    daemon.wait_for(suspended, what="the job is suspended")
    daemon.type("a", "clear; fg; echo over $?")
    daemon.wait_for(lambda: "cat > /dev/null" in daemon.screen("a").splitlines(), what="the job was taken up again")
    daemon.tmux("send-keys", "-t", "=a:0", "C-d")
    daemon.wait_for(lambda: "over 0" in daemon.screen("a"), what="the job came to its end")
    daemon.type("a", "exit 5")
    assert daemon.wait_state("a", "failed")["exit_code"] == 5
    daemon.wait_for(lambda: "This is a shell" in daemon.screen("a"), what="the shell for inspection is there")
    daemon.type("a", "echo $((6 * 7)); sleep 0.1; echo done")
    daemon.wait_for(lambda: "\n42\ndone\n" in daemon.screen("a"), what="the shell for inspection works")


@BOTH
def test_it_cannot_be_suspended(sandboxed: Sandboxed, kind: str) -> None:
    """Nobody would be there to have it go on."""
    daemon = sandboxed.daemon
    sandboxed.start(jcard(agent(kind, "i=0; while :; do i=$((i + 1)); echo $i >count; sleep 0.05; done")))
    count = daemon.workdir / "count"
    daemon.wait_for(count.exists, what="it counts")
    for _ in range(3):
        daemon.tmux("send-keys", "-t", "=a:0", "C-z")
        before = count.read_text()
        daemon.wait_for(lambda before=before: count.read_text() not in ("", before), what="it goes on")  # type: ignore[misc]  # bound early


def test_it_outlives_agentd_and_is_adopted(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(jcard(agent("sandboxed", "echo $$ >said; exec sleep 6005")))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")
    before = daemon.wait_state("a", "running")
    daemon.kill()
    assert before["pid"] is not None
    assert psutil.pid_exists(before["pid"])
    daemon.start(*sandboxed.flags, env={"LANG": "C.UTF-8"})
    after = daemon.wait_state("a", "running")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)


def test_it_ends_with_its_pane(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(jcard(agent("sandboxed", "trap '' HUP INT TERM; setsid sleep 6006 & echo >said; wait")))
    daemon.wait_for((daemon.workdir / "said").exists, what="it is ready")
    pid = daemon.wait_state("a", "running")["pid"]
    daemon.kill()
    assert pid is not None
    inside = psutil.Process(pid).children(recursive=True)
    assert inside
    daemon.tmux("kill-session", "-t", "=a")
    daemon.wait_for(lambda: not any(process.is_running() for process in inside), what="nothing of it is left")
    # The next agentd clears up what stands of it.
    daemon.start(*sandboxed.flags, env={"LANG": "C.UTF-8"})
    assert "session was closed" in str(daemon.wait_state("a", "failed")["error"])


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/python3").exists(), reason="no user may execute Python")
@pytest.mark.thorough
def test_a_sandbox_that_cannot_be_made_is_a_failed_launch(sandboxed: Sandboxed) -> None:
    """Never an agent without one."""
    daemon = sandboxed.daemon
    stand_in = daemon.bin / "bwrap"
    stand_in.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    quickly = {"restart_delay": "100ms", "grace_period": "100ms"}
    sandboxed.start(jcard(agent("sandboxed", "echo >said; exec sleep 600", **quickly)), "--interval=200ms")
    error = daemon.wait_state("a", "failed")["error"]
    assert error is not None
    assert "No permissions to create a new namespace" in error
    stand_in.unlink()
    daemon.wait_state("a", "running", timeout=30)

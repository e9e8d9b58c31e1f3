"""Sandboxed agents that tell of their turns by a socket of their own, and what else one can do with that: nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, cast

from tests.daemon.test_turns import post, socket_of
from tests.sandbox.conftest import PYTHON, Sandboxed
from tests.support.agents import jcard
from tests.support.daemon import Daemon

SCRIPT: Final = Path(__file__).with_name("posting_agent.py").read_text()
"""Given as a text: a sandbox need not show this clone, as where that lies below /tmp."""


def posting(name: str, *arguments: str, **fields: object) -> dict[str, object]:
    """An agent that posts hooks from its sandbox."""
    command = [PYTHON, "-I", "-S", "-c", SCRIPT, *arguments]
    return {"name": name, "type": "sandboxed", "command": command, "workdir": "work", **fields}


def wait_idle(daemon: Daemon, name: str) -> None:
    """Wait until it is the user's move."""

    def idle() -> bool:
        agent = daemon.agent(name)
        return agent is not None and agent["activity"] == "idle"

    daemon.wait_for(idle, what=f"{name} is idle")


def say(daemon: Daemon, name: str, message: str, text: str) -> None:
    """Send a message."""
    status, found = post(daemon, f"/v1/turns/{name}/messages", {"id": message, "text": text})
    assert status == 202, found


def message_of(daemon: Daemon, name: str, message: str) -> dict[str, object]:
    """How far a message is."""
    found = cast("dict[str, dict[str, object]]", post(daemon, f"/v1/turns/{name}/messages/{message}", method="GET")[1])
    return found["message"]


def ended(daemon: Daemon, name: str, message: str) -> tuple[object, object]:
    """Wait for the end of a message's turn; give how it ended, and the answer."""
    daemon.wait_for(lambda: message_of(daemon, name, message)["status"] == "ended", what=f"{message} has ended")
    found = message_of(daemon, name, message)
    return found["outcome"], found["final_text"]


def test_it_is_talked_to_asks_is_interrupted_and_outlasts_agentd(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(jcard(posting("a", "turns", network="none")))
    wait_idle(daemon, "a")
    say(daemon, "a", "m1", "hello")
    assert ended(daemon, "a", "m1") == ("completed", "done: hello")
    say(daemon, "a", "m2", "ask")
    daemon.wait_for(lambda: daemon.agents()["a"]["activity"] == "waiting_permission", what="it asks")
    assert daemon.agents()["a"]["activity_source"] == "hooks"
    assert post(daemon, "/v1/turns/a/answer", {"decision": "deny"})[0] == 200
    assert ended(daemon, "a", "m2") == ("completed", "200: deny")
    pid = daemon.agents()["a"]["pid"]
    daemon.kill()
    daemon.start(*sandboxed.flags)
    say(daemon, "a", "m3", "sleep")
    daemon.wait_for(lambda: message_of(daemon, "a", "m3")["status"] == "started", what="it sleeps")
    assert post(daemon, "/v1/turns/a/interrupt")[0] == 200
    assert ended(daemon, "a", "m3")[0] == "interrupted"
    assert daemon.agents()["a"]["pid"] == pid
    daemon.write_jcard(jcard())
    daemon.wait_gone("a")
    runtime = Path(f"{daemon.tmux_socket}.runs")
    daemon.wait_for(lambda: not [*runtime.glob("*.hooks")], what="its folder is removed")


def test_its_socket_takes_hooks_of_its_own_and_nothing_else(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    victim = posting("victim", "turns", workdir="other")
    (daemon.folder / "other").mkdir()
    sandboxed.give(daemon.folder / "other")
    sandboxed.start(jcard(victim))
    daemon.wait_state("victim", "running")
    runtime = Path(f"{daemon.tmux_socket}.runs")
    [theirs] = daemon.wait_for(lambda: [*runtime.glob("*.hooks")], what="the other has its socket")
    hidden = [str(theirs / "socket"), str(socket_of(daemon)), str(daemon.api_socket), str(daemon.tmux_socket)]
    orders = {"victim": "victim", "run": theirs.stem, "hidden": hidden}
    daemon.write_jcard(jcard(victim, posting("attacker", "attack", json.dumps(orders))))
    found_at = daemon.workdir / "found.json"
    wait_idle(daemon, "victim")
    # While it floods, the others are heard.
    daemon.wait_state("attacker", "running")
    number = 0
    while not found_at.exists():
        say(daemon, "victim", f"m{number}", f"hello {number}")
        assert ended(daemon, "victim", f"m{number}") == ("completed", f"done: hello {number}")
        number += 1
    found = json.loads(found_at.read_text())
    assert found["asked"] == ["404"] * len(found["asked"])
    assert found["forged"][:2] == ["200", "200"]
    assert found["forged"][2][:3] in ("200", "404")
    assert found["seen"] == [["hooks"], ["socket"]]
    # Read-only, and not its own to mount anew.
    assert [each.split()[1] for each in found["changed"]] == ["30", "30", "30", "30", "16"], found["changed"]
    assert found["hidden"] == ["FileNotFoundError"] * len(hidden)
    assert found["huge"][1] == "200"
    assert found["huge"][0] in ("closed", "BrokenPipeError", "ConnectionResetError", "503"), found["huge"]
    assert [each[:3] for each in found["wrong"]] == ["400", "400", "200"]
    assert found["held"].count("held") <= 64, found["held"]
    assert set(found["flood"]) <= {"200", "429"}
    # What it said of another's run was of its own.
    turns = cast("dict[str, dict[str, object]]", post(daemon, "/v1/turns/victim", method="GET")[1])
    assert turns["last"] is not None
    assert "forged" not in json.dumps(turns)
    mine = post(daemon, "/v1/turns/attacker", method="GET")[1]
    assert "forged" in json.dumps(mine)
    assert daemon.health()
    daemon.write_jcard(jcard(victim))
    daemon.wait_gone("attacker")


def test_another_process_of_its_user_cannot_use_its_socket(sandboxed: Sandboxed) -> None:
    """A native agent sees it; what it posts there is not of that run."""
    daemon = sandboxed.daemon
    sandboxed.start(jcard(posting("a", "turns")))
    wait_idle(daemon, "a")
    [theirs] = Path(f"{daemon.tmux_socket}.runs").glob("*.hooks")
    native = posting("n", "native", type="native", env={"AGENTD_HOOK": str(theirs / "socket")})
    script = SCRIPT.replace('post("ready")', 'Path("said").write_text(post("started", turn="forged"))')
    native["command"] = [PYTHON, "-I", "-S", "-c", script, "native"]
    daemon.write_jcard(jcard(posting("a", "turns"), native))
    daemon.wait_for((daemon.workdir / "said").exists, what="it was answered")
    daemon.wait_for((daemon.workdir / "said").read_text, what="it has written that down")
    assert (daemon.workdir / "said").read_text().startswith("403")
    assert "forged" not in json.dumps(post(daemon, "/v1/turns/a", method="GET")[1])


def test_in_gvisors_sandbox_it_takes_no_messages_and_says_why(sandboxed: Sandboxed) -> None:
    daemon = sandboxed.daemon
    sandboxed.start(jcard(posting("a", "turns", sandbox="gvisor", enabled=False)))

    def answered() -> tuple[int, object] | None:
        answer = post(daemon, "/v1/turns/a/messages", {"id": "m", "text": "hello"})
        return None if answer[0] == 503 else answer

    status, found = daemon.wait_for(answered, what="it is known which agents are declared")
    assert (status, "gVisor's sandbox" in json.dumps(found)) == (409, True), found

"""What agents ask for is decided by the rules of [[approve]], and it is known who decided."""

from __future__ import annotations

import json
import os
import pwd
from typing import cast

import pytest

from tests.cli.support import Client
from tests.daemon.test_messages import Listener, started
from tests.support.agents import jcard
from tests.support.daemon import Daemon

RULES = """
[[approve]]
name = "no-rm"
decision = "deny"
commands = ["rm *"]

[[approve]]
name = "status"
decision = "allow"
agents = ["a*"]
tools = ["bash"]
commands = ["git status*"]

[[approve]]
name = "ops"
decision = "ask"
commands = ["git push*"]
whom = ["ops"]
timeout = "10ms"

[[notify]]
on = ["approval_asked"]
whom = ["ops"]
command = ["sh", "-c", "cat >>{told}"]
"""


def client_of(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def answer(agent: Listener, message: str, line: str) -> str:
    agent.send(message, f"run {line}")
    return str(agent.wait(message, "ended")["final_text"])


def test_rules_decide_and_it_is_known_who_did(daemon: Daemon) -> None:
    agent = Listener(daemon)
    started(daemon, agent)
    client, told = client_of(daemon), daemon.folder / "told"
    daemon.write_jcard(jcard(agent.table) + RULES.replace("{told}", str(told)))
    daemon.wait_for(lambda: "no-rm" in client("approvals", "explain", "a", "rm x").out, what="the rules are in force")

    assert answer(agent, "m1", "git status --short") == "I hear: allow: git status --short"
    assert answer(agent, "m2", "ls; rm -rf x") == "I hear: deny: ls; rm -rf x"
    assert answer(agent, "m3", "git push") == "I hear: deny: git push", "nobody answered in time"
    daemon.wait_for(lambda: told.exists() and "git push" in told.read_text(), what="ops is told")
    assert json.loads(told.read_text())["data"]["whom"] == ["ops"]

    agent.send("m4", "run git status; make")
    assert client("wait", "a", "--for", "waiting_permission", "--timeout", "30s").status == 0

    def last() -> tuple[object, object]:
        waiting = cast("list[dict[str, object]]", client("approvals", "--json").document)[-1]
        return waiting["what"], waiting["decision"]

    # What is told is kept a moment later.
    daemon.wait_for(lambda: last() == ("git status; make", None), what="the last of the list waits")
    assert client("answer", "a", "allow").status == 0
    agent.wait("m4", "ended")

    user = pwd.getpwuid(os.geteuid()).pw_name
    daemon.wait_for(lambda: last() == ("git status; make", "allow"), what="the answer is kept")
    assert [line.split("\t")[1:] for line in client("approvals").out.splitlines()] == [
        ["a", "Bash", "allow", "rule status", "git status --short"],
        ["a", "Bash", "deny", "rule no-rm", "ls; rm -rf x"],
        ["a", "Bash", "deny", "rule ops", "git push"],
        ["a", "Bash", "allow", user, "git status; make"],
    ]

    explained = client("approvals", "explain", "A", "git status; rm -rf /")
    assert explained.out.splitlines()[0] == 'deny: rule no-rm: "rm -rf /" is one of its commands'
    nothing = client("approvals", "explain", "a", "git status; make").out.splitlines()
    assert nothing[0] == "ask: no rule is about it"
    assert nothing[2] == '  status (allow): no, "make" is none of its commands'
    assert client("approvals", "explain", "nobody", "ls").status == 1
    assert client("approvals", "explain", "a").status == 2

    # What waits is decided by a rule that comes.
    agent.send("m5", "run make all")
    assert client("wait", "a", "--for", "waiting_permission", "--timeout", "30s").status == 0
    daemon.write_jcard(jcard(agent.table) + '[[approve]]\ndecision = "allow"\ncommands = ["make *"]\n')
    assert agent.wait("m5", "ended")["final_text"] == "I hear: allow: make all"
    assert daemon.agents()["a"]["restarts"] == 0


@pytest.mark.thorough
def test_the_rules_of_a_drop_in_are_for_its_own_agents(daemon: Daemon) -> None:
    agent, other = Listener(daemon), Listener(daemon, "b")
    folder = daemon.jcard.with_suffix(".d")
    folder.mkdir()
    rule = '[[approve]]\nname = "{}"\ndecision = "{}"\ncommands = ["make *"]\n'
    (folder / "b.toml").write_text(jcard(other.table) + rule.format("team", "allow"))
    started(daemon, agent)
    daemon.wait_state("b", "running")
    client = client_of(daemon)
    daemon.wait_for(lambda: client("approvals", "explain", "b", "make x").out.startswith("allow"), what="it counts")
    assert client("approvals", "explain", "a", "make x").out.startswith("ask: no rule is about it")
    daemon.write_jcard(jcard(agent.table) + rule.format("ours", "deny"))
    daemon.wait_for(
        lambda: client("approvals", "explain", "b", "make x").out.startswith("deny: rule ours"), what="ours is first"
    )

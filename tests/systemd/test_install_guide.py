"""docs/install.md, walked by a new administrator: every command of a section, in order, in a fresh Debian."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import wait_for
from tests.systemd.machine import Installation, Machine

GUIDE = Path(__file__).resolve().parents[2] / "docs/install.md"
_PROMPT = re.compile(r"(#|[a-z]+\$) (.*)")
_HERE_DOCUMENT = re.compile(r"<< '(\w+)'$")


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed at a prompt."""

    user: str
    text: str


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def commands(text: str) -> Iterator[Command]:
    """Every command of the console blocks; other lines are what they print."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = iter(block.splitlines())
        for line in lines:
            prompt = _PROMPT.fullmatch(line)
            if prompt is None:
                continue
            typed = [prompt[2]]
            here = _HERE_DOCUMENT.search(prompt[2])
            while here is not None and typed[-1] != here[1]:
                typed.append(next(lines))
            yield Command("root" if prompt[1] == "#" else prompt[1][:-1], "\n".join(typed))


def on_a_terminal(command: str) -> str:
    """Type it on a terminal, and a second later the keys that detach."""
    return f"(sleep 1; printf '\\002d') | script -qec {shlex.quote(command)} /dev/null"


@dataclass(slots=True)
class Administrator:
    """Types commands, and looks at the agents around those that restart the daemon."""

    machine: Machine
    service: Installation
    environment: dict[str, dict[str, str]]
    kept: int = 0
    """Restarts of the daemon over which the agents stayed."""

    def type(self, command: Command) -> str:
        """Execute a command as its user, in a login shell."""
        text = command.text
        if text.startswith("agentctl attach"):
            text = on_a_terminal(text)
        before = self.service.running_pids() if "restart agentd" in text else None
        script = f"set -e; . ~/.profile; {text}"
        done = self.machine.run(script, user=command.user, environment=self.environment.get(command.user), check=False)
        if command.user == "other":
            assert done.returncode != 0, f"an ordinary user may: {command.text}"
        else:
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}{self.service.log()}"
        if before is not None and self.service.running_pids() == before:
            assert [agent["restarts"] for agent in self.service.agents()] == [0, 0, 0]
            self.kept += 1
        return done.stdout


@pytest.fixture
def wheel(machine: Machine) -> None:
    """The wheel, where the guide expects it: in the folder in which one works."""
    machine.run("useradd --create-home --shell /bin/bash other; useradd --create-home --shell /bin/bash ada")
    machine.run("for home in /root /home/ada; do cp /mnt/wheels/agentd-*.whl $home; done; touch ~/.profile")


@pytest.mark.usefixtures("wheel")
def test_by_the_guide_alone_a_machine_and_a_user_get_agents_that_outlive_restarts(machine: Machine) -> None:
    system = Administrator(machine, Installation(machine, "/run/stereos/agentd.sock"), {})
    typed = list(commands(section("Debian or Ubuntu, for the whole machine")))
    upgrade = next(index for index, command in enumerate(typed) if "--upgrade" in command.text)
    shown = [system.type(command) for command in typed[: upgrade + 2]]
    assert any("[detached (from session clock)]" in text for text in shown)
    # Two of the three restarts; before the other one a secret was added, which agents receive.
    assert system.kept == 2
    assert len(system.service.running_pids()) == 3

    uid = machine.said("id -u ada")
    runtime = f"/run/user/{uid}"
    user = Administrator(
        machine,
        Installation(machine, f"{runtime}/agentd/agentd.sock", "ada", journalctl="journalctl --user-unit=agentd"),
        # As a login sets it.
        {"ada": {"XDG_RUNTIME_DIR": runtime}},
    )
    for command in commands(section("Debian or Ubuntu, for one user")):
        user.type(command)
        if "enable-linger" in command.text:
            wait_for(lambda: machine.run(f"test -S {runtime}/systemd/private", check=False).returncode == 0, 30)
    assert user.kept == 1
    assert len(user.service.running_pids()) == 3

    for command in typed[upgrade + 2 :]:
        system.type(command)
    assert machine.said("systemctl list-units --plain --no-legend 'agentd*'") == ""
    assert machine.run("pgrep -u agent", check=False).returncode == 1

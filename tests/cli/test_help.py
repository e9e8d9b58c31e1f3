from __future__ import annotations

import shutil
import subprocess

import pytest

from agentd.cli.agentctl.catalogue import SUMMARIES
from agentd.cli.agentctl.commands.help import MANUAL_PAGES, manual_page
from agentd.cli.manual.topics import TOPICS
from agentd.jcard.reference import field_reference
from agentd.jcard.schema import agent_schema
from agentd.model.states import AgentState
from agentd.settings.flags import OPTIONS
from tests.cli.support import Client


def test_topics_are_listed_and_each_is_explained(client: Client) -> None:
    assert [row[0] for row in client("help").rows] == list(TOPICS)
    for name, topic in TOPICS.items():
        done = client("help", name)
        assert (done.status, done.out) == (0, topic.text() + "\n")
        assert all(len(line) <= 120 for line in done.out.splitlines())
    assert client("help", "states", "--json").document == {"topic": "states", "text": TOPICS["states"].text()}


def test_topics_leave_nothing_out() -> None:
    states, sockets, fields = (TOPICS[name].text() for name in ("states", "sockets", "jcard"))
    assert all(f"\n  {state} " in states for state in AgentState)
    assert all(option.flag in sockets for option in OPTIONS if option.environment)
    assert all(f"\n  {field.name}  (" in fields for field in field_reference(agent_schema()))


def test_a_command_is_explained_as_by_its_help(client: Client) -> None:
    assert client("help", "send").out == client("send", "--help").out


@pytest.mark.parametrize(
    ("topic", "hint"), [("state", "did you mean states"), ("zzz", "agentctl help lists the topics")]
)
def test_an_unknown_topic_is_said_with_the_next_step(client: Client, topic: str, hint: str) -> None:
    done = client("help", topic)
    assert done.status == 1
    assert hint in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "name a command, such as agentctl status; new here? agentctl help getting-started; see agentctl --help",
        ),
        (["statu"], 'there is no command "statu": did you mean status'),
        (["zzz"], 'there is no command "zzz"; see agentctl --help'),
        (["logs"], "the following arguments are required: NAME; see agentctl logs --help"),
        (["wait", "x"], "required: --for; see agentctl wait --help"),
    ],
)
def test_bad_usage_is_said_with_the_next_step(client: Client, arguments: list[str], message: str) -> None:
    done = client(*arguments)
    assert done.status == 2
    assert message in done.err.splitlines()[-1]


def test_the_manual_has_every_command_and_flag(client: Client) -> None:
    page = client("help", "--man").out
    assert page == manual_page("agentctl.1")
    assert all(
        f"\n.SS agentctl {escaped}" in page for escaped in (command.replace("-", r"\-") for command in SUMMARIES)
    )
    daemon = client("help", "--man", "agentd.1").out
    assert all(option.flag.replace("-", r"\-") in daemon for option in OPTIONS)
    assert client("help", "--man", "agentd.8").status == 1


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("name", MANUAL_PAGES)
def test_man_has_nothing_to_say_about_the_pages(name: str) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", "-"], input=manual_page(name), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{name.partition('.')[0].upper()}(1)" in done.stdout

"""The ports of agents in a file: what is read of it, whatever stands there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentd.daemon.port_ledger import PortLedger
from agentd.model.spec import AgentSpec
from agentd.supervise.ports import Ports


def given(path: Path, *names: str) -> Ports:
    return PortLedger(path, lambda _: None).give([shop(name) for name in names])


def shop(name: str) -> AgentSpec:
    return AgentSpec(name, "custom", name, Path("/srv"), ports=("PORT",))


def test_another_agentd_gives_what_the_former_one_gave(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text(json.dumps({"a": {"PORT": 20123}}))
    first = given(path, "a", "b")
    assert first["a"] == {"PORT": 20123}
    assert given(path, "b", "a") == first


def test_what_a_newer_agentd_wrote_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    text = '{"v": 2, "agents": ["of another form"]}'
    path.write_text(text)
    assert given(path, "a")["a"].keys() == {"PORT"}
    assert path.read_text() == text
    # Once it is out of the way.
    path.unlink()
    assert json.loads(json.dumps(given(path, "a"))) == json.loads(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"a": {"PORT": 201',
        "[]",
        '{"a": 1}',
        '{"a": {"PORT": 70000}}',
        '{"a": {"PORT": 0}}',
        '{"a": {"PORT": true}}',
    ],
)
def test_what_is_no_port_is_given_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(text)
    ports = given(path, "a")
    assert 20000 <= ports["a"]["PORT"] <= 32767
    assert json.loads(path.read_text()) == ports


def test_an_agent_may_be_called_as_the_version_is(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    ports = given(path, "v")
    assert given(path, "v") == ports


def test_a_folder_in_its_place_keeps_nothing_and_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    (path / "x").mkdir(parents=True)
    assert given(path, "a")["a"].keys() == {"PORT"}

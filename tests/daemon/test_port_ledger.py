"""The ports of agents in a file: what is read of it, whatever stands there."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from agentd.daemon.port_ledger import PortLedger
from agentd.files import kept_file
from agentd.model.events import Event
from agentd.model.spec import AgentSpec
from agentd.supervise.ports import Ports
from tests.support.waiting import until


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


async def test_what_is_given_in_a_thread_is_told_in_the_loop_and_written_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_file, "AGAIN", 0.01)
    told: list[threading.Thread] = []

    def tell(_: Event) -> None:
        told.append(threading.current_thread())

    path = tmp_path / "state" / "ports.json"
    ledger = PortLedger(path, tell, asyncio.get_running_loop())
    ports = await asyncio.to_thread(ledger.give, [shop("a")])
    assert told == [threading.current_thread()]
    assert not path.exists()
    path.parent.mkdir()
    await until(path.exists)
    assert json.loads(path.read_text()) == ports

"""The file of conversations that agents go on with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.files import kept_file
from agentd.turns.conversations import Conversations, Remembered
from tests.support.waiting import until


def test_turns_that_begin_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    kept = Conversations(tmp_path / "conversations.json")

    def begin(number: int) -> None:
        kept.remember(f"a{number}", Remembered("codex", "/w" * 500, f"id{number}"))
        kept.write()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(begin, range(200)))
    assert len(json.loads(kept.path.read_text())) == 200
    again = Conversations(kept.path)
    again.read()
    assert again.of("a7", "codex", "/w" * 500) == "id7"
    assert again.of("a7", "codex", "/elsewhere") is None
    assert oct(kept.path.stat().st_mode & 0o777) == "0o600"


def test_what_cannot_be_understood_is_forgotten(tmp_path: Path) -> None:
    kept = Conversations(tmp_path / "conversations.json")
    for content in ('{"a": {"harness": "codex"', "[1]", '{"a": {"harness": 5, "workdir": "/", "id": "x"}}', "\udcff"):
        kept.path.write_text(content, errors="surrogateescape")
        kept.read()
        assert kept.of("a", "codex", "/") is None


async def test_it_is_known_whether_a_conversation_is_kept(tmp_path: Path) -> None:
    kept = Conversations(tmp_path / "state" / "conversations.json")
    kept.remember("a", Remembered("codex", "/w", "id"))
    assert not await kept.kept(), "there is no folder"
    kept.path.parent.mkdir()
    assert await kept.kept()
    again = Conversations(kept.path)
    again.read()
    assert again.of("a", "codex", "/w") == "id"


async def test_what_could_not_be_written_is_written_again_without_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_file, "AGAIN", 0.01)
    kept, tries, write = Conversations(tmp_path / "state" / "conversations.json"), list[bool](), Conversations.write

    def tried(conversations: Conversations) -> bool:
        tries.append(write(conversations))
        return tries[-1]

    monkeypatch.setattr(Conversations, "write", tried)
    kept.remember("a", Remembered("codex", "/w", "id"))
    kept.write_soon()
    await until(lambda: bool(tries))
    assert not tries[0], "there is no folder"
    kept.path.parent.mkdir()
    await until(kept.path.exists)


async def test_while_nothing_can_be_written_one_attempt_alone_is_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, loop, timers = Conversations(tmp_path / "no folder" / "conversations.json"), asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay: float, call: Callable[..., object], *given: object) -> asyncio.TimerHandle:
        timer = call_later(delay, call, *given)
        if call == kept.write_soon:
            timers.append(timer)
        return timer

    monkeypatch.setattr(kept_file, "AGAIN", 3600.0)
    monkeypatch.setattr(loop, "call_later", noted)
    kept.write_soon()
    await until(lambda: len(timers) == 1)
    # A turn begins meanwhile.
    kept.write_soon()
    await until(lambda: len(timers) == 2)
    assert [timer.cancelled() for timer in timers] == [True, False]
    timers[1].cancel()

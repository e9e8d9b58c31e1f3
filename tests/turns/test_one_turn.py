"""Runs that end with their answer: what their records tell, and whose a record is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentd.files.looks import Looks
from agentd.harness.additions import LaunchFacts
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Ground, LiveRun, TurnsError
from agentd.turns.claude.one_turn import ClaudeRecord
from agentd.turns.codex.one_turn import CodexRecord
from agentd.turns.events import Ended, Failure, Outcome, TurnEvent, Usage
from agentd.turns.file_changes import FileChanges
from agentd.turns.gemini.one_turn import GeminiRecord
from agentd.turns.one_turn import OneTurnWatch, Record
from agentd.turns.reading import Reading
from agentd.turns.run_watch import RunWatch
from tests.turns.claude_run import Outlet, Terminal, me, wall

BORN = 1_795_000_000.0
ANSWERED = [Usage(10, 5), Ended(Outcome.COMPLETED, "done")]


def stamp(after: float) -> str:
    return datetime.fromtimestamp(BORN + after, UTC).isoformat().replace("+00:00", "Z")


def write(path: Path, *lines: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def claude(home: Path, name: str, after: float = 1.0, entry: str = "sdk-cli") -> None:
    said = {"id": "m", "role": "assistant", "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}
    used = {"input_tokens": 10, "output_tokens": 5}
    known = {"timestamp": stamp(after), "entrypoint": entry, "sessionId": name}
    asked = {"type": "user", "promptId": "p", "message": {"role": "user", "content": "go"}, "uuid": "u", **known}
    answered = {"type": "assistant", "message": {**said, "usage": used}, "uuid": "v", **known}
    write(home / "projects" / "-w" / f"{name}.jsonl", asked, answered)


def claude_record(home: Path) -> ClaudeRecord:
    process = ProcessIdentity(77, 5)
    return ClaudeRecord(home, "/w", process, BORN, Reading(me()))


def codex(home: Path, name: str, after: float = 1.0, source: str = "exec", cwd: str = "/w") -> None:
    def line(kind: str, **payload: object) -> object:
        return {"timestamp": stamp(after), "type": kind, "payload": payload}

    day = datetime.fromtimestamp(BORN).astimezone().strftime("%Y/%m/%d")
    used = {"input_tokens": 10, "output_tokens": 5}
    write(
        home / day / f"rollout-2026-{name}.jsonl",
        line("session_meta", id=name, source=source, cwd=cwd),
        line("event_msg", type="task_started", turn_id="t"),
        line("event_msg", type="item_completed", item={"type": "UserMessage", "content": [{"text": "go"}]}),
        line("event_msg", type="token_count", info={"total_token_usage": used}),
        line("event_msg", type="task_complete", turn_id="t", last_agent_message="done"),
    )


def codex_record(home: Path) -> CodexRecord:
    return CodexRecord(home, "/w", os.getpid(), BORN, Reading(me()))


def gemini(home: Path, name: str, after: float = 1.0, root: str = "/w") -> None:
    folder = home / ".gemini" / "tmp" / Path(root).name
    (folder / "chats").mkdir(parents=True, exist_ok=True)
    (folder / ".project_root").write_text(root)
    write(
        folder / "chats" / f"session-{name}.jsonl",
        {"sessionId": name, "kind": "main", "startTime": stamp(after)},
        {"id": "1", "type": "user", "timestamp": stamp(after), "content": [{"text": "go"}]},
        {
            "id": "2",
            "type": "gemini",
            "timestamp": stamp(after),
            "content": "done",
            "tokens": {"input": 10, "output": 5},
        },
    )


def gemini_record(home: Path) -> GeminiRecord:
    return GeminiRecord(home, "/w", BORN, Reading(me()))


KINDS = [
    pytest.param(claude, claude_record, {"entry": "cli"}, id="claude"),
    pytest.param(codex, codex_record, {"cwd": "/other"}, id="codex"),
    pytest.param(gemini, gemini_record, {"root": "/other"}, id="gemini"),
]


@pytest.mark.parametrize(("make", "record", "others"), KINDS)
def test_the_one_record_of_a_run_tells(tmp_path: Path, make, record, others) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    make(tmp_path, "before", after=-5.0)
    make(tmp_path, "others", **others)
    assert [*record(tmp_path).told()] == []
    make(tmp_path, "own")
    assert [*record(tmp_path).told()] == ANSWERED
    # Two began since: nobody knows which is whose.
    make(tmp_path, "another")
    assert [*record(tmp_path).told()] == []


def test_the_status_file_tells_which_record_is_a_runs(tmp_path: Path) -> None:
    claude(tmp_path, "own")
    claude(tmp_path, "another")
    record = claude_record(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        record.seek()
    write(tmp_path / "sessions" / "77.json", {"pid": 77, "procStart": "5", "sessionId": "own"})
    assert record.seek()
    (tmp_path / "sessions" / "77.json").unlink()
    assert [*record.told()] == ANSWERED


def test_the_file_that_a_process_has_open_is_its_record(tmp_path: Path) -> None:
    own, another = "0" * 8 + "-0000-0000-0000-" + "0" * 12, "1" * 8 + "-0000-0000-0000-" + "1" * 12
    codex(tmp_path, own)
    codex(tmp_path, another)
    record = codex_record(tmp_path)
    assert not record.seek()
    with next(tmp_path.rglob(f"*{own}.jsonl")).open():
        assert record.seek()
    assert [*record.told()] == ANSWERED


@pytest.mark.parametrize(("make", "record", "others"), KINDS)
def test_a_link_out_of_a_sandboxs_home_is_not_followed(tmp_path: Path, make, record, others) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
    home, outside = tmp_path / "home", tmp_path / "outside"
    make(home, "own")
    found = next(path for path in home.rglob("*.jsonl"))
    own = record(home)
    own.reading = Reading(me(), home)
    assert [*own.told()] == ANSWERED
    outside.mkdir()
    found.rename(outside / "x")
    found.symlink_to(outside / "x")
    os.utime(found, follow_symlinks=False)
    assert [*own.told()] == []


@dataclass(slots=True)
class Kept:
    """A record that is known."""

    place: Path
    events: list[TurnEvent] = field(default_factory=list)

    def seek(self) -> bool:
        return True

    def told(self) -> Iterable[TurnEvent]:
        if not self.events:
            raise OSError("gone")
        return self.events


INTERRUPTED = Ended(Outcome.INTERRUPTED)
REFUSED = Ended(Outcome.FAILED, None, Failure.AUTH_ERROR, "no")


@pytest.mark.parametrize(
    ("told", "succeeded", "end"),
    [
        (ANSWERED, True, Ended(Outcome.COMPLETED, "done")),
        (ANSWERED, False, Ended(Outcome.FAILED, "done", Failure.OTHER)),
        ([INTERRUPTED], True, INTERRUPTED),
        ([REFUSED], False, REFUSED),
        ([], True, Ended(Outcome.COMPLETED)),
        ([], False, Ended(Outcome.FAILED, None, Failure.OTHER)),
    ],
)
async def test_the_exit_ends_the_turn(tmp_path: Path, told: list[TurnEvent], succeeded: bool, end: Ended) -> None:
    record: Record = Kept(tmp_path, told)
    facts = LaunchFacts("a", "r", "codex", (), {}, tmp_path, tmp_path, False, tmp_path, tmp_path)
    looks = Looks()
    ground = Ground(looks, FileChanges(looks), me(), wall)
    watch = RunWatch(LiveRun(facts, ProcessIdentity(1, None), {}, Terminal()), ground, Outlet())
    turn = OneTurnWatch(watch.run, watch, ground, record)
    assert await turn.at_exit(succeeded=succeeded) == end
    with pytest.raises(TurnsError, match="takes no message"):
        await turn.deliver("more")
    await watch.let_go()
    looks.close()

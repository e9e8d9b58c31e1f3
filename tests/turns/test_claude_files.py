"""What Claude Code writes, read from files that are damaged, enormous, another's, or of another version."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.harness.additions import HOOK_VARIABLE, LaunchFacts
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Answer, Hook, TurnsError
from agentd.turns.claude import launch, status_file, status_line
from agentd.turns.claude.hooks import activity_of, events_of, reply
from agentd.turns.claude.session_file import Session, Used, session_path
from agentd.turns.conversation import Conversation, take
from agentd.turns.events import Decision, Usage
from agentd.turns.growing_file import LONGEST_LINE, MOST_BEHIND, PIECE, GrowingFile
from agentd.turns.quota import QuotaWindow
from tests.turns.claude_run import PROCESS, SAMPLES, STATUS, me

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HOOKS = (*launch.HOOKS, "Notification", "SomethingNew")
FIELDS = (
    *("prompt_id", "prompt", "delta", "final", "tool_use_id", "tool_name", "tool_input", "last_assistant_message"),
    *("error", "source", "session_id"),
)
bodies = st.dictionaries(st.sampled_from(FIELDS), json_values)


# -- hooks


@given(st.lists(st.tuples(st.sampled_from(HOOKS), st.none() | bodies), max_size=8))
def test_whatever_hooks_say_they_are_read(hooks: list[tuple[str, dict[str, object] | None]]) -> None:
    conversation = Conversation()
    for at, (name, body) in enumerate(hooks):
        hook = Hook(name, body)
        activity_of(hook)
        for event in events_of(hook, conversation, str(at)):
            conversation = take(conversation, event, float(at))


@pytest.mark.parametrize(
    ("tool", "answer", "decision"),
    [
        ("Bash", Answer(Decision.ALLOW), {"behavior": "allow"}),
        ("Bash", Answer(Decision.DENY), {"behavior": "deny"}),
        ("Bash", Answer(Decision.DENY, "no"), {"behavior": "deny", "message": "no"}),
        ("AskUserQuestion", Answer(Decision.DENY, "no"), {"behavior": "deny", "message": "no"}),
    ],
)
def test_an_answer_is_what_the_hook_prints(tool: str, answer: Answer, decision: dict[str, object]) -> None:
    printed = json.loads(reply({"tool_name": tool, "tool_input": {"command": "x"}}, answer))
    assert printed == {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


def test_questions_are_answered_by_their_texts() -> None:
    given_ = {"questions": [{"question": "Which?"}, {"question": "Why?"}]}
    body = {"tool_name": "AskUserQuestion", "tool_input": given_}
    printed = json.loads(reply(body, Answer(Decision.ANSWER, "Blue\nbecause")))
    decision = printed["hookSpecificOutput"]["decision"]
    assert decision["updatedInput"] == {**given_, "answers": {"Which?": "Blue", "Why?": "because"}}
    with pytest.raises(TurnsError, match="expected 2 lines, one for each question, found 1"):
        reply(body, Answer(Decision.ANSWER, "Blue"))


@pytest.mark.parametrize(
    ("tool", "decision"), [("Bash", Decision.ANSWER), ("Bash", Decision.EXPIRED), ("AskUserQuestion", Decision.ALLOW)]
)
def test_an_answer_that_does_not_fit_is_refused(tool: str, decision: Decision) -> None:
    with pytest.raises(TurnsError, match="expected"):
        reply({"tool_name": tool}, Answer(decision, "text"))


# -- the command line


def facts(*argv: str, **changed: object) -> LaunchFacts:
    values: dict[str, object] = {
        "agent": "a",
        "run_id": "r1",
        "harness": "claude-code",
        "argv": argv,
        "stays": True,
        "environment": {HOOK_VARIABLE: "/run/x"},
        "workdir": Path("/w"),
        "home": Path("/h"),
        "file": Path("/run/f"),
        "socket": Path("/run/s"),
        **changed,
    }
    return LaunchFacts(**values)  # type: ignore[arg-type]


def test_an_agent_that_stays_gets_hooks_and_an_id() -> None:
    added = launch.additions(facts("claude", "--model", "m", "--", "-x"))
    assert added.argv[0::2][:3] == ("claude", added.memo["session"], "/run/f")
    assert added.argv[1::2][:2] == ("--session-id", "--settings")
    assert added.argv[5:] == ("--model", "m", "--", "-x")
    assert added.file is not None
    assert set(json.loads(added.file)["hooks"]) == set(launch.HOOKS)
    assert launch.additions(facts("claude", "--model", "m", "--", "-x")) == added


@pytest.mark.parametrize("environment", [{}, {"ANTHROPIC_API_KEY": "k"}, {"CLAUDE_CODE_USE_BEDROCK": "1"}])
def test_the_status_line_is_set_however_it_is_paid(environment: dict[str, str]) -> None:
    file = launch.additions(facts("claude", environment={HOOK_VARIABLE: "/run/x", **environment})).file
    assert file is not None
    assert json.loads(file)["statusLine"] == status_line.status_line("/run/x")


def test_the_users_own_status_line_is_shown_and_the_nearest_one_wins(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for folder in (home, project):
        (folder / ".claude").mkdir(parents=True)
    command = status_line.status_line(str(tmp_path / "none.sock"))["command"]
    given = {"workspace": {"project_dir": str(project)}, "model": {"id": "m"}}

    def shown() -> str:
        return subprocess.run(
            ["/bin/sh", "-c", str(command)],
            input=json.dumps(given),
            env={"HOME": str(home), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert shown() == ""
    own = {"statusLine": {"type": "command", "command": "cat; echo of the user"}}
    (home / ".claude/settings.json").write_text(json.dumps(own))
    assert shown() == f"{json.dumps(given)}of the user\n"
    (project / ".claude/settings.json").write_text('{"statusLine": {"command": "echo of the project"}}')
    assert shown() == "of the project\n"
    (project / ".claude/settings.json").write_text('{"statusLine": ')
    assert shown().endswith("of the user\n")


@given(st.dictionaries(st.sampled_from(("rate_limits", "model")), json_values))
def test_whatever_a_status_line_is_given_it_is_read(body: dict[str, object]) -> None:
    status_line.windows(body)


def test_a_status_line_tells_what_came_to_the_cost() -> None:
    cost = status_line.Cost()
    totals: list[object] = [0.25, 0.25, 0.75, None, "x", 0.5, 0.5625]
    # The first is of a conversation that was resumed, or of turns that a former agentd told of.
    assert [cost.more({"cost": {"total_cost_usd": total}}) for total in totals] == [
        *(None, None, 0.5, None, None, None, 0.0625),
    ]
    assert cost.more({}) is None
    new = status_line.Cost(0.0)
    assert [new.more({"cost": {"total_cost_usd": total}}) for total in (0.25, 0.75)] == [0.25, 0.5]


def test_a_status_line_tells_of_the_quota() -> None:
    limits = {
        "five_hour": {"used_percentage": 93.5, "resets_at": 1_800_000_000},
        "seven_day": {"used_percentage": 20, "resets_at": None},
        "seven_day_opus": {"resets_at": 1},
    }
    assert status_line.windows({"rate_limits": limits}) == (
        QuotaWindow("five_hour", 93.5, 5 * 3600, 1_800_000_000),
        QuotaWindow("seven_day", 20, 7 * 86400, None),
    )
    assert status_line.windows({}) == ()


@pytest.mark.parametrize(
    ("changed", "argv"),
    [
        ({"stays": False}, ("claude", "-p", "x")),
        ({"environment": {}}, ("claude", "--session-id", "ID", "-p", "x")),
    ],
)
def test_a_one_shot_run_and_one_without_a_socket_get_less(changed: dict[str, object], argv: tuple[str, ...]) -> None:
    added = launch.additions(facts("claude", "-p", "x", **changed))
    assert added.argv == tuple(added.memo.get("session") or word if word == "ID" else word for word in argv)
    assert added.file is None


@pytest.mark.parametrize("own", [["--resume", "i"], ["-c"], ["--session-id=i"], ["--continue"]])
def test_a_conversation_that_the_jcard_names_is_left_to_it(own: list[str]) -> None:
    added = launch.additions(facts("claude", *own))
    assert added.argv == ("claude", "--settings", "/run/f", *own)
    assert "session" not in added.memo


def test_what_stands_in_the_prompt_is_no_option_and_a_conversation_is_resumed() -> None:
    assert "--settings" in launch.additions(facts("claude", "--", "--settings")).argv[:-2]
    assert launch.additions(facts("claude", resume="i")).argv[1:3] == ("--resume", "i")


# -- the status file


def test_the_recorded_status_files_are_read() -> None:
    lines = (SAMPLES / "claude-sessions-pid-json.jsonl").read_text().splitlines()
    found = [status_file.parse(json.dumps(json.loads(line)["json"]).encode(), PROCESS, 2e9) for line in lines]
    idle, busy, waits = Activity.IDLE, Activity.WORKING, Activity.WAITING_PERMISSION
    assert [each and each.activity for each in found] == [
        *(idle, busy, idle, waits, busy, idle, busy, waits, idle, busy, idle, busy, idle)
    ]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b'{"pid": 1}', b"\xff", b"[" * 100_000),
        json.dumps({**STATUS, "procStart": "1"}).encode(),
        json.dumps({**STATUS, "status": "idle"}).encode()[:-5],
    ],
)
def test_a_damaged_status_file_and_that_of_a_former_process_say_nothing(data: bytes) -> None:
    assert status_file.parse(data, PROCESS, 0.0) is None


@given(st.dictionaries(st.sampled_from(["status", "waitingFor", "statusUpdatedAt", "sessionId"]), json_values))
def test_a_status_that_is_not_known_is_unknown(changed: dict[str, object]) -> None:
    found = status_file.parse(json.dumps({**STATUS, **changed}).encode(), ProcessIdentity(3678, None), 5.0)
    assert found is not None
    assert found.at <= 10.0
    if changed.get("status") not in ("idle", "busy", "waiting"):
        assert found.activity is Activity.UNKNOWN


# -- the session file


def test_usage_that_is_repeated_counts_once_and_may_grow() -> None:
    session = Session()

    def line(identity: str, output: int) -> bytes:
        usage = {"input_tokens": 10, "output_tokens": output, "cache_read_input_tokens": 3}
        return json.dumps({"type": "assistant", "message": {"id": identity, "model": "m", "usage": usage}}).encode()

    used = [
        each.usage
        for text in (line("a", 1), line("a", 1), line("a", 5), line("b", 2))
        for each in session.read(text)
        if isinstance(each, Used)
    ]
    assert used == [Usage(10, 1, 3), Usage(), Usage(0, 4), Usage(10, 2, 3)]


@given(
    st.binary(max_size=40)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda kind, message: json.dumps({"type": kind, "message": message}).encode(),
        st.sampled_from(["user", "assistant"]),
        json_values,
    )
)
def test_whatever_a_line_holds_it_is_read(line: bytes) -> None:
    Session().read(line)


def test_a_session_file_is_found_by_the_workdir() -> None:
    assert session_path(Path("/h/.claude"), "/srv/my_work.d", "i") == Path("/h/.claude/projects/-srv-my-work-d/i.jsonl")


# -- files that grow


def growing(path: Path) -> GrowingFile:
    """Make one that was not there at first."""
    file = GrowingFile(path, me())
    with pytest.raises(FileNotFoundError):
        file.read()
    return file


def test_lines_come_once_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = growing(path)
    path.write_bytes(b"one\ntw")
    assert file.read() == ([b"one"], False)
    with path.open("ab") as more:
        more.write(b"o\n\nthree")
    assert file.read() == ([b"two"], False)


@pytest.mark.parametrize("there", [b"old\n", b"old\nhalf"])
def test_what_was_there_at_first_is_passed_over(tmp_path: Path, there: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(there)
    file = GrowingFile(path, me())
    assert file.read() == ([], False)
    with path.open("ab") as more:
        more.write(b" of it\nnew\n")
    assert file.read()[0] == ([b" of it", b"new"] if there.endswith(b"\n") else [b"new"])


def test_a_file_that_is_replaced_or_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = growing(path)
    path.write_bytes(b"one\ntwo\n")
    file.read()
    path.write_bytes(b"cut\n")
    assert file.read()[0] == [b"cut"]
    other = tmp_path / "g"
    other.write_bytes(b"another\nlonger one\n")
    other.replace(path)
    assert file.read()[0] == [b"another", b"longer one"]


def test_a_gigabyte_is_not_read_but_its_end(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = growing(path)
    with path.open("wb") as sparse:
        sparse.truncate(1 << 30)
        sparse.seek(0, os.SEEK_END)
        sparse.write(b"\nlast\n")
    lines, more, pieces = list[bytes](), True, 0
    while more:
        found, more = file.read()
        lines += found
        pieces += 1
    assert lines[-1] == b"last"
    assert pieces <= 2
    assert file.skipped > (1 << 30) - MOST_BEHIND


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f"
    file = growing(path)
    path.write_bytes(b"x" * (LONGEST_LINE + 2 * PIECE) + b"\nafter\n")
    lines, more = list[bytes](), True
    while more:
        found, more = file.read()
        lines += found
    assert lines == [b"after"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "secret"])
def test_what_is_no_file_of_the_agents_user_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            if os.geteuid() != 0:
                pytest.skip("not root")
            path.symlink_to("/etc/shadow")
    account = me() if kind != "secret" else type(me())("nobody", 65534, 65534, (), Path("/"), "/bin/sh", switch=True)
    with pytest.raises(OSError, match=r"."):
        GrowingFile(path, account).read()

"""agentctl top: by textual's pilot, and as people see it in a terminal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from agentd.cli.agentctl.attention import needs_somebody, order
from agentd.cli.agentctl.client import Api
from agentd.cli.agentctl.top.actions import ActionError, command_line, perform
from agentd.cli.agentctl.top.answer import answer_of
from agentd.cli.agentctl.top.app import Top
from agentd.cli.agentctl.top.dialogs import Prompt
from agentd.cli.agentctl.top.rows import rows
from agentd.cli.agentctl.turns_client import ConversationView, TurnsClient, TurnView
from agentd.model.states import Activity
from agentd.model.status import AgentStatus
from agentd.settings.settings import Settings, resolve_settings
from tests.cli.support import RUNNING, Client, MemorySource, TmuxServer
from tests.support.waiting import PATIENCE

IDLE = replace(RUNNING, name="idle", activity=Activity.IDLE)
WORKING = replace(RUNNING, name="a-working", activity=Activity.WORKING)
ASKING = replace(RUNNING, name="z-asking", activity=Activity.WAITING_PERMISSION, activity_text="run rm -r build?")
QUESTION = replace(RUNNING, name="y-question", activity=Activity.WAITING_INPUT, activity_text="Blue or red?")
LIMIT = replace(RUNNING, name="limit", activity=Activity.USAGE_LIMIT)
FAILED = replace(RUNNING, name="failed", state="failed", running=False, error="no such program", activity=None)
ALL = (WORKING, IDLE, FAILED, LIMIT, QUESTION, ASKING)


def test_whoever_somebody_waits_for_comes_first() -> None:
    in_order = ["z-asking", "y-question", "limit", "failed", "idle", "a-working"]
    assert [agent.name for agent in sorted(ALL, key=order)] == in_order
    assert [row.name for row in rows(ALL)] == in_order
    assert [row.name for row in rows(ALL, by_name=True)] == sorted(in_order)
    assert {agent.name for agent in ALL if needs_somebody(agent)} == set(in_order[:4])


def test_a_long_name_leaves_room_for_what_the_agent_does() -> None:
    name = "reviewer-of-the-payment-service-in-the-frontend-repository"
    long = [replace(RUNNING, name=f"{name}-{number}") for number in (0, 1)]
    assert [row.name for row in rows(long)] == [agent.name for agent in long]
    assert [str(row.cells[0]) for row in rows(long)] == [f"reviewer-of-the-…nd-repository-{n}" for n in (0, 1)]
    assert str(rows([IDLE])[0].cells[0]) == "idle"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("WAITING", ["z-asking", "y-question"]),
        ("waiting question", ["y-question"]),
        ("failed", ["failed"]),
        ("nothing-like-it", []),
    ],
)
def test_a_filter_is_words_that_must_all_be_there(wanted: str, names: list[str]) -> None:
    assert [row.name for row in rows(ALL, wanted)] == names


def test_what_an_agent_says_is_shown_without_control_characters() -> None:
    hostile = replace(ASKING, activity_text="\x1b[31mred\u202e", command="x\x07")
    (row,) = rows([hostile])
    assert not any(sign in cell.plain for cell in row.cells for sign in "\x1b\x07\u202e")


def settings_of(client: Client) -> Settings:
    return resolve_settings({}, client.environment, root=False)


async def shown(pilot: Pilot[None], probe: Callable[[], bool]) -> None:
    """Wait until something is so in the running view."""
    end = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < end, [str(row) for row in names(pilot)]
        await pilot.pause(0.02)


def names(pilot: Pilot[None]) -> list[str]:
    table = pilot.app.screen_stack[0].query_one("#agents", DataTable)
    return [str(table.get_row_at(row)[0]) for row in range(table.row_count)]


def text_of(pilot: Pilot[None], widget: str) -> str:
    return str(pilot.app.screen_stack[0].query_one(widget, Static).content)


async def test_the_table_follows_the_agents(client: Client, source: MemorySource) -> None:
    source.statuses = [WORKING, IDLE]
    async with Top(Api(client.api_socket), settings_of(client)).run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: names(pilot) == ["idle", "a-working"])
        source.statuses = [WORKING, IDLE, ASKING]
        await shown(pilot, lambda: names(pilot) == ["z-asking", "idle", "a-working"])
        assert "3 agents, 3 running, 1 to look at" in text_of(pilot, "#summary")
        await pilot.press("t")
        assert names(pilot) == ["a-working", "idle", "z-asking"]


@pytest.mark.thorough
async def test_the_selected_agent_stays_selected_and_says_what_it_asks(client: Client, source: MemorySource) -> None:
    source.statuses = [WORKING, ASKING]
    app = Top(Api(client.api_socket), settings_of(client))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: names(pilot) == ["z-asking", "a-working"])
        await shown(pilot, lambda: text_of(pilot, "#said") == "run rm -r build?")
        source.statuses = [WORKING, IDLE]
        await shown(pilot, lambda: names(pilot) == ["idle", "a-working"])
        await pilot.press("j")
        assert app.selected is not None
        assert app.selected.name == "a-working"
        source.statuses = [WORKING, IDLE, ASKING, QUESTION]
        await shown(pilot, lambda: len(names(pilot)) == 4)
        assert app.selected is not None
        assert app.selected.name == "a-working"


def turn(text: str, outcome: str | None = None, error: str | None = None) -> TurnView:
    return TurnView("t", "p", text, outcome, error, {})


@pytest.mark.parametrize(
    ("under_way", "last", "shown"),
    [
        (None, None, ""),
        (None, turn("done\n", "completed"), "last answer: done"),
        (None, turn("a\x1b[31m\nb", "completed"), "last answer: \na\\x1b[31m\nb"),
        (None, turn("", "failed", "no quota"), "last turn failed: no quota"),
        (turn("so far"), turn("done", "completed"), "answering: so far"),
        (turn(""), turn("done", "completed"), "last answer: done"),
        (None, turn("\n".join("123456789"), "completed"), "last answer, its last 6 lines: \n4\n5\n6\n7\n8\n9"),
    ],
)
def test_the_last_answer_is_shown_without_control_characters(
    under_way: TurnView | None, last: TurnView | None, shown: str
) -> None:
    assert answer_of(ConversationView("a", None, None, True, under_way, last, [])).plain == shown


async def test_the_selected_agents_last_answer_is_shown(
    client: Client, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conversation(_: TurnsClient, agent: str) -> ConversationView | None:
        last = turn("the answer", "completed") if agent == "idle" else None
        return ConversationView(agent, None, None, True, None, last, [])

    monkeypatch.setattr(TurnsClient, "conversation", conversation)
    source.statuses = [WORKING, IDLE]
    app = Top(Api(client.api_socket), settings_of(client))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: text_of(pilot, "#answer") == "last answer: the answer")
        assert app.query_one("#answer").display
        await pilot.press("j")
        await shown(pilot, lambda: not app.query_one("#answer").display)


@pytest.mark.thorough
async def test_words_filter_while_they_are_typed_and_escape_shows_all(client: Client, source: MemorySource) -> None:
    source.statuses = list(ALL)
    async with Top(Api(client.api_socket), settings_of(client)).run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: len(names(pilot)) == len(ALL))
        await pilot.press("slash", *"asking")
        await shown(pilot, lambda: names(pilot) == ["z-asking"])
        await pilot.press("enter", "escape")
        await shown(pilot, lambda: len(names(pilot)) == len(ALL))


async def test_a_restart_is_asked_about_first(
    client: Client, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.statuses = [IDLE]
    done: list[str] = []

    def perform(argv: Sequence[str]) -> str:
        done.append(argv[-2])
        return "restarted"

    monkeypatch.setattr("agentd.cli.agentctl.top.app.perform", perform)
    async with Top(Api(client.api_socket), settings_of(client)).run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: names(pilot) == ["idle"])
        await pilot.press("r", "n")
        await pilot.press("r", "y")
        await shown(pilot, lambda: done == ["restart"])


@pytest.mark.thorough
async def test_the_table_goes_on_while_a_dialog_is_open(client: Client, source: MemorySource) -> None:
    source.statuses = [IDLE]
    app = Top(Api(client.api_socket), settings_of(client))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: names(pilot) == ["idle"])
        await pilot.press("s")
        await shown(pilot, lambda: isinstance(app.screen, Prompt))
        source.statuses = [IDLE, ASKING]
        await shown(pilot, lambda: names(pilot) == ["z-asking", "idle"])
        await pilot.press("escape")
        await shown(pilot, lambda: not isinstance(app.screen, Prompt))


@pytest.mark.thorough
async def test_300_agents_are_drawn_without_lag(client: Client, source: MemorySource) -> None:
    many = [replace(RUNNING, name=f"agent-{number:03}", activity=Activity.WORKING) for number in range(300)]
    source.statuses = list[AgentStatus](many)
    app = Top(Api(client.api_socket), settings_of(client))
    async with app.run_test(size=(160, 50)) as pilot:
        await shown(pilot, lambda: len(names(pilot)) == 300)
        costs = []
        for second in range(5):
            changed = [replace(agent, uptime_seconds=1000 + second) for agent in many]
            before = time.thread_time()
            app._show_agents(changed)
            costs.append(time.thread_time() - before)
        # 25 ms here; a key waits for no more than that.
        assert statistics.median(costs) < 0.2


def test_a_key_runs_agentctl_for_the_same_daemon(client: Client, source: MemorySource) -> None:
    source.statuses = [IDLE]
    argv = command_line(settings_of(client), "list")
    assert perform(argv).startswith("idle\\t")
    with pytest.raises(ActionError, match='there is no agent "nobody"'):
        perform(command_line(settings_of(client), "status", "nobody"))


def test_in_a_terminal_it_shows_an_agents_screen_and_ends_with_status_0(
    client: Client, source: MemorySource, agents_tmux: TmuxServer, operator_tmux: TmuxServer
) -> None:
    pane, pid = agents_tmux.agent("asks", "printf 'may I \\033[31mbuild\\033[0m?'; exec cat")
    source.statuses = [replace(ASKING, name="asks", session="asks", pane=pane, pane_pid=pid)]
    operator_tmux.session("s", client.shell_words("top"))
    screen = operator_tmux.wait_for_text("s", "may I build?")
    assert "waiting_permission" in screen
    operator_tmux("send-keys", "-t", "=s:", "q")
    operator_tmux.wait_for_text("s", "[status 0]")


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_it_needs_a_terminal_and_has_no_json(client: Client, extra: tuple[str, ...]) -> None:
    assert client("top", *extra).status == 2


@pytest.mark.program
def test_without_the_extra_it_says_what_to_install(
    client: Client, source: MemorySource, operator_tmux: TmuxServer, short_folder: Path
) -> None:
    (short_folder / "without").mkdir()
    (short_folder / "without/textual.py").write_text('raise ModuleNotFoundError("none", name="textual")\n')
    source.statuses = [IDLE]
    operator_tmux.session("s", client.shell_words("top", PYTHONPATH=str(short_folder / "without")))
    operator_tmux.wait_for_text("s", "top needs textual, which is not installed")
    operator_tmux.wait_for_text("s", "[status 1]")

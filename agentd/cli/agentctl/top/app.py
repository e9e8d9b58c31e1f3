"""The live view itself.

The daemon is asked in threads: for the agents once a second and at each event, for the screen of the selected agent
twice a second. Only cells that changed are drawn again.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static

from agentd.cli.agentctl.attention import needs_somebody
from agentd.cli.agentctl.client import Api, ApiError, UnreachableError
from agentd.cli.agentctl.lookup import agent_path
from agentd.cli.agentctl.top.actions import ActionError, command_line, perform
from agentd.cli.agentctl.top.answer import answer_of
from agentd.cli.agentctl.top.dialogs import Confirm, Prompt
from agentd.cli.agentctl.top.rows import HEADING, Row, rows
from agentd.cli.agentctl.turns_client import TurnsClient
from agentd.model.status import AgentStatus
from agentd.settings.settings import Settings
from agentd.settings.sockets import turns_socket
from agentd.text.quoting import printable
from agentd.text.terminal import harmless, plural

_READ_AFTER: Final = 1.0
"""Seconds between two readings of the agents; with 300 of them one costs agentd 6 ms."""
_SCREEN_AFTER: Final = 0.5
"""Seconds between two readings of the selected agent's screen."""


class Top(App[None]):
    """All agents, and the selected one's screen and last answer.

    Parameters
    ----------
    api
        The daemon.
    settings
        What the commands that keys run are told.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary { height: 1; background: $boost; padding: 0 1; }
    #agents { height: 1fr; min-height: 5; }
    #selected { height: 1fr; border-top: solid $accent; }
    #said { height: auto; max-height: 3; color: $text-muted; padding: 0 1; }
    #answer { height: auto; max-height: 8; padding: 0 1; border-bottom: dashed $accent; }
    #answer.nothing { display: none; }
    #filter { display: none; border: none; height: 1; padding: 0 1; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,a", "attach", "attach"),
        Binding("s", "send", "send"),
        Binding("y", "decide('allow')", "allow"),
        Binding("n", "decide('deny')", "deny"),
        Binding("w", "reply", "answer"),
        Binding("i", "interrupt", "interrupt"),
        Binding("r", "restart", "restart"),
        Binding("slash", "filter", "filter"),
        Binding("t", "sort", "sort"),
        Binding("escape", "all", "show all", show=False),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, api: Api, settings: Settings) -> None:
        super().__init__()
        self._api = api
        self._settings = settings
        self._turns = TurnsClient(Api(turns_socket(settings.api_socket)))
        self._agents: Sequence[AgentStatus] = ()
        self._rows: list[Row] = []
        self._wanted = ""
        self._by_name = False
        self._changed = threading.Event()
        """Set when the agents are to be read at once."""
        self._over = threading.Event()
        # Kept, not looked up: while a dialog is open, textual looks in that alone.
        self._summary = Static("", id="summary", markup=False)
        self._table: DataTable[Text] = DataTable(id="agents", cursor_type="row", zebra_stripes=False)
        self._filter = Input(id="filter", placeholder="words that must be in a name, harness, state or activity")
        self._selected_box = Vertical(id="selected")
        self._said = Static("", id="said", markup=False)
        self._answer = Static("", id="answer", classes="nothing", markup=False)
        self._screen_scroll = VerticalScroll(can_focus=False)
        self._screen_text = Static("", id="screen", markup=False)

    def compose(self) -> ComposeResult:
        """Build the view."""
        yield self._summary
        yield self._table
        yield self._filter
        with self._selected_box:
            yield self._said
            yield self._answer
            with self._screen_scroll:
                yield self._screen_text
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        for title in HEADING:
            self._table.add_column(title, key=title)
        self._table.focus()
        self._follow_agents()
        self._follow_screen()

    def on_unmount(self) -> None:
        """Let the threads go."""
        self._over.set()
        self._changed.set()

    @property
    def selected(self) -> AgentStatus | None:
        """The agent under the cursor."""
        at = self._table.cursor_row
        name = self._rows[at].name if 0 <= at < len(self._rows) else None
        return next((agent for agent in self._agents if agent.name == name), None)

    # Reading

    @work(thread=True, exclusive=True, group="agents")
    def _follow_agents(self) -> None:
        while not self._over.is_set():
            try:
                agents: Sequence[AgentStatus] = self._api.agents()
            except (UnreachableError, ApiError) as error:
                self._from_thread(self._show_trouble, str(error))
            else:
                self._from_thread(self._show_agents, agents)
            self._changed.wait(_READ_AFTER)
            self._changed.clear()

    @work(thread=True, exclusive=True, group="screen")
    def _follow_screen(self) -> None:
        while not self._over.is_set():
            agent = self.selected
            if agent is not None:
                try:
                    body = self._api.read(f"{agent_path(agent.name, '/screen')}?format=ansi")
                    text = Text.from_ansi("\n".join(map(harmless, body.decode("utf-8", "replace").splitlines())))
                except (UnreachableError, ApiError) as error:
                    text = Text(printable(str(error)), "dim")
                self._from_thread(self._show_screen, agent.name, text)
                self._from_thread(self._show_answer, agent.name, self._read_answer(agent.name))
            self._over.wait(_SCREEN_AFTER)

    def _read_answer(self, name: str) -> Text:
        try:
            return answer_of(self._turns.conversation(name))
        except (UnreachableError, ApiError):
            # Who may look at agents may not read what is said to them, and answers, everywhere.
            return Text()

    def _from_thread(self, show: Callable[..., None], *values: object) -> None:
        if self.is_running:
            self.call_from_thread(show, *values)

    # Drawing

    def _show_trouble(self, reason: str) -> None:
        self._summary.update(Text(f"agentd is not reachable on {self._api.path}: {printable(reason)}", "bold red"))

    def _show_agents(self, agents: Sequence[AgentStatus]) -> None:
        self._agents = agents
        running = sum(agent.running for agent in agents)
        waiting = sum(map(needs_somebody, agents))
        shown = f", sorted by {'name' if self._by_name else 'attention'}"
        shown += f", only {self._wanted!r}" if self._wanted else ""
        text = Text(f"{plural(len(agents), 'agent')}, {running} running, ")
        text.append(f"{waiting} to look at", "bold yellow" if waiting else "")
        text.append(shown, "dim")
        self._summary.update(text)
        self._draw()

    def _draw(self) -> None:
        """Bring the table to what it should show: cell by cell while it has the same agents in the same order."""
        before, self._rows = self._rows, rows(self._agents, self._wanted, by_name=self._by_name)
        table = self._table
        names = [row.name for row in self._rows]
        if names == [row.name for row in before]:
            for old, new in zip(before, self._rows, strict=True):
                for title, was, now in zip(HEADING, old.cells, new.cells, strict=True):
                    if was != now or was.style != now.style:
                        table.update_cell(new.name, title, now)
        else:
            at = table.cursor_row
            name = before[at].name if 0 <= at < len(before) else None
            table.clear()
            for row in self._rows:
                table.add_row(*row.cells, key=row.name)
            table.move_cursor(row=names.index(name) if name in names else min(at, max(0, len(names) - 1)))
        self._show_selected()

    def _show_selected(self) -> None:
        agent = self.selected
        said = "" if agent is None else agent.activity_text or agent.error or ""
        title = "no agent" if agent is None else f"{agent.name}: {agent.activity or agent.state}"
        self._selected_box.border_title = printable(title)
        self._said.update(Text(printable(said)))

    def _show_screen(self, name: str, text: Text) -> None:
        if self.selected is not None and self.selected.name == name:
            self._screen_text.update(text)
            # What happens in a terminal is at its end.
            self._screen_scroll.scroll_end(animate=False)

    def _show_answer(self, name: str, text: Text) -> None:
        if self.selected is not None and self.selected.name == name:
            self._answer.update(text)
            self._answer.set_class(not text.plain, "nothing")

    def on_data_table_row_highlighted(self) -> None:
        """Show the agent that the cursor came to."""
        self._answer.add_class("nothing")
        self._show_selected()

    def on_data_table_row_selected(self) -> None:
        """Attach by Enter, which the table takes for itself."""
        self.action_attach()

    # Filter and order

    def action_filter(self) -> None:
        """Ask for words to filter by."""
        self._filter.add_class("shown")
        self._filter.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while words are typed."""
        if event.input.id == "filter":
            self._wanted = event.value
            self._show_agents(self._agents)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the table, which stays filtered."""
        if event.input.id == "filter":
            event.input.set_class(bool(event.value), "shown")
            self._table.focus()

    def action_all(self) -> None:
        """Filter no more."""
        self._filter.value = ""
        self._filter.remove_class("shown")
        self._table.focus()

    def action_sort(self) -> None:
        """Sort by name, or by attention again."""
        self._by_name = not self._by_name
        self._show_agents(self._agents)

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        self._table.move_cursor(row=self._table.cursor_row + by)

    # Acting on the selected agent

    def action_attach(self) -> None:
        """Give the terminal to tmux until the operator detaches."""
        if (agent := self.selected) is None:
            return
        with self.suspend():
            status = subprocess.call(command_line(self._settings, "attach", agent.name))
        if status != 0:
            self.notify(f"attach ended with status {status}", severity="error")
        self.refresh(layout=True)

    @work
    async def action_send(self) -> None:
        """Send a message."""
        agent = self.selected
        if agent is not None and (text := await self.push_screen_wait(Prompt(f"message to {printable(agent.name)}"))):
            self._run("send", "--", agent.name, text)

    def action_decide(self, decision: str) -> None:
        """Allow or deny what the agent asks for."""
        if (agent := self.selected) is not None:
            self._run("answer", agent.name, decision)

    @work
    async def action_reply(self) -> None:
        """Answer the agent's question."""
        agent = self.selected
        if agent is None:
            return
        text = await self.push_screen_wait(Prompt(printable(agent.activity_text or f"answer to {agent.name}")))
        if text:
            self._run("answer", "--", agent.name, text)

    def action_interrupt(self) -> None:
        """Interrupt the agent's turn."""
        if (agent := self.selected) is not None:
            self._run("interrupt", agent.name)

    @work
    async def action_restart(self) -> None:
        """Restart the agent, once that is confirmed."""
        agent = self.selected
        if agent is not None and await self.push_screen_wait(Confirm(f"restart {printable(agent.name)}?")):
            self._run("restart", agent.name)

    @work(thread=True, group="actions")
    def _run(self, command: str, *words: str) -> None:
        try:
            said = perform(command_line(self._settings, command, *words))
        except ActionError as error:
            self._from_thread(self._say, str(error), "error")
        else:
            self._from_thread(self._say, said or f"{command}: done", "information")
        self._changed.set()

    def _say(self, text: str, severity: str) -> None:
        self.notify(text, severity="error" if severity == "error" else "information", markup=False)

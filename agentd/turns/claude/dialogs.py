"""What Claude Code asks at its terminal where no hook holds: told from the screen, and answered by the dialog's keys.

That it waits, and since when, its status file says; the screen says for what. A choice is taken by its number, which at
a prompt is a character like others, where Enter and Escape would do something.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Final

from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Ground, Terminal, TurnsError, Voice
from agentd.turns.conversation import Request
from agentd.turns.events import Decision, PermissionAsked, PermissionResolved, QuestionAsked
from agentd.turns.request_numbers import request_numbers
from agentd.turns.screen.judging import judge_screen
from agentd.turns.screen.styled import read_rows

WAITS: Final = (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)

_OPTION: Final = re.compile(" {0,2}[\u276f ] ?(?P<number>\\d)\\. *(?P<said>\\S.*?) *")
_SEVERAL, _BOX = re.compile("← +[☐☒✔]"), re.compile(r"\[.\] ")
"""How a row of the names of several questions begins, and a choice with a box to tick: one key answers neither."""
_OWN_WORDS: Final = ("Type something", "Chat about this")
"""How those choices begin that Claude Code adds to each question."""

_REDRAWN: Final = 0.5
"""Seconds after a key in which the screen may still show what it answered."""
_GOES: Final = 2.5
"""Seconds in which a dialog goes away once its key is pressed; it takes 0.1 s."""
_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Dialog:
    """A dialog that was told of."""

    since: float
    """Since when Claude Code waits, as its status file says it; 0 without one."""
    text: str
    """As the screen shows it."""


@dataclass(slots=True)
class Dialogs:
    """The dialogs of one run that no hook tells of."""

    voice: Voice
    terminal: Terminal
    ground: Ground
    _told: dict[str, _Dialog] = field(default_factory=dict)
    """By the ids of their requests."""
    _numbers: count[int] = field(default_factory=request_numbers)
    _unasked: float | None = None
    """Since when Claude Code waits, and no request is known."""
    _decided: float = 0.0
    """When one was last answered here."""

    def look(self, since: float | None, *, permission: bool, patience: float) -> None:
        """Tell what the screen asks, and that it asks no more.

        Parameters
        ----------
        since
            Since when Claude Code waits, as its status file says it, or 0 without one; ``None`` if it does not.
        permission
            Whether that is for a permission: then a turn is under way, though nobody may have told of it.
        patience
            Seconds that a hook has for telling of it.
        """
        shown, conversation = self.voice.screen, self.voice.conversation
        asks = None if shown is None or shown.activity not in WAITS or not shown.text else shown
        self._expire(since, asks, shown)
        if conversation.requests or since is None:
            self._unasked = None
            return
        now = self.ground.wall()
        self._unasked = self._unasked or now
        turn = conversation.turn
        if asks is None or (turn is None and not permission) or now < self._unasked + patience:
            return
        # A screen that was seen before shows what another asked.
        if asks.at >= max(since or (0.0 if turn is None else turn.started), self._decided + _REDRAWN):
            self._ask(asks, since)

    def _expire(self, since: float | None, asks: Seen | None, shown: Seen | None) -> None:
        still = {request.id: request.asked for request in self.voice.conversation.requests}
        for request, dialog in list(self._told.items()):
            if request not in still:
                del self._told[request]
                continue
            # Where a status file says that it waits, what hides its dialog for a while is not the end of it.
            hidden = asks is None and since != 0.0
            changed = shown is not None and shown.at > still[request] and not hidden and _text(asks) != dialog.text
            if since != dialog.since or changed:
                self.drop(request)

    @property
    def open(self) -> bool:
        """Whether any was told of here."""
        return bool(self._told)

    def drop(self, *requests: str) -> None:
        """Say that these, or all, are decided: somebody answered at the terminal, or a hook asks now."""
        for request in requests or list(self._told):
            if self._told.pop(request, None) is not None:
                self.voice.event(PermissionResolved(request, Decision.EXPIRED))

    def _ask(self, asks: Seen, since: float) -> None:
        request = f"screen-{next(self._numbers):x}"
        self._told[request] = _Dialog(since, asks.text)
        if asks.activity is Activity.WAITING_INPUT:
            self.voice.event(QuestionAsked(request, asks.text))
            return
        turn = self.voice.conversation.turn
        tools = () if turn is None else turn.tools
        tool = next((each for each in reversed(tools) if each.text and each.text in asks.text), None)
        name, identity = ("", None) if tool is None else (tool.name, tool.tool)
        self.voice.event(PermissionAsked(request, name, asks.text, identity))

    def has(self, request: str) -> bool:
        """Whether a request was told of here."""
        return request in self._told

    async def answer(
        self, request: Request, answer: Answer, waits_since: Callable[[], Awaitable[float | None]]
    ) -> None:
        """Press the key, while the terminal shows what was asked, and see the dialog go.

        Parameters
        ----------
        waits_since
            Reads the status file, for `look`'s `since`.

        Raises
        ------
        TurnsError
            If it no longer does, the answer does not fit, or the dialog stays.
        """
        dialog = self._told[request.id]
        # What was seen last may be a second old, and a key must not go to the dialog after that.
        since = await waits_since()
        screen = await self.terminal.show()
        if since != dialog.since or not _shows(screen, request, dialog):
            raise TurnsError("the terminal no longer shows what was asked; see agentctl screen")
        key = key_for(request, answer, screen)
        await self.terminal.press(key)
        self._decided = self.ground.wall()
        await self._see_it_go(request, dialog, waits_since, key)

    async def _see_it_go(
        self, request: Request, dialog: _Dialog, waits_since: Callable[[], Awaitable[float | None]], key: str
    ) -> None:
        end = asyncio.get_running_loop().time() + _GOES
        while asyncio.get_running_loop().time() < end:
            # The next dialog may ask for the same.
            if not _shows(await self.terminal.show(), request, dialog) or await waits_since() != dialog.since:
                return
            await asyncio.sleep(_LOOK)
        raise TurnsError(f"{key} was pressed, and the terminal still shows what was asked; see agentctl screen")


def _text(seen: Seen | None) -> str:
    return "" if seen is None else seen.text


def _shows(screen: str, request: Request, dialog: _Dialog) -> bool:
    found = judge_screen("claude-code", screen, "")
    expected = Activity.WAITING_INPUT if request.question else Activity.WAITING_PERMISSION
    return found.activity is expected and found.text == dialog.text


def options_of(screen: str) -> tuple[dict[str, str], bool]:
    """The choices of the dialog at the end of a screen, by their numbers, and whether one of them answers all of it."""
    rows = [row.text for row in read_rows(screen)]
    found: dict[str, str] = {}
    for at in range(len(rows) - 1, -1, -1):
        match = _OPTION.fullmatch(rows[at])
        # What it asks about, above, may have numbers too; a long choice has rows without.
        if match is not None and (not found or int(match["number"]) == int(list(found)[-1]) - 1):
            found[match["number"]] = match["said"]
            if match["number"] == "1":
                above = takewhile(lambda row: not row.startswith("────"), reversed(rows[:at]))
                several = any(map(_SEVERAL.match, above)) or any(map(_BOX.match, found.values()))
                return dict(reversed(found.items())), not several
    return {}, False


def key_for(request: Request, answer: Answer, screen: str) -> str:
    """The key that gives an answer in the dialog on the screen.

    Raises
    ------
    TurnsError
        If there is none, or the answer does not fit.
    """
    if request.question and answer.decision is Decision.ALLOW:
        raise TurnsError("expected an answer in words, or deny; the agent asks a question")
    if not request.question and answer.decision is Decision.ANSWER:
        raise TurnsError("expected allow or deny; the agent asks for permission")
    if answer.decision is not Decision.ANSWER and answer.text:
        raise TurnsError("expected no text: without hooks Claude Code is told none here; send it afterwards")
    options, alone = options_of(screen)
    if not request.question:
        # "Yes, and …" allows more than was asked.
        wanted, offer = ("Yes", "Yes") if answer.decision is Decision.ALLOW else ("No(, .*)?", "No")
        number = next((number for number, said in options.items() if re.fullmatch(wanted, said)), None)
        if number is None:
            raise TurnsError(f'expected the dialog to offer "{offer}", and it does not: answer at the terminal')
        return number
    if answer.decision is Decision.DENY:
        return "Escape"
    if not alone:
        raise TurnsError("it asks several things at once: without hooks that is answered at the terminal")
    offered = {said: number for number, said in options.items() if not said.startswith(_OWN_WORDS)}
    if answer.text.strip() not in offered:
        shown = ", ".join(f'"{said}"' for said in offered)
        raise TurnsError(f"expected one of its choices, {shown}: without hooks other words are given at the terminal")
    return offered[answer.text.strip()]

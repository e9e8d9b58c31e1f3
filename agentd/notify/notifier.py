"""Tells what happens: a queue for each rule, so that none waits for another, and nothing waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets as random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog

from agentd.files.worker import in_thread
from agentd.model.events import Event, redacted
from agentd.model.notification import NotifyRule
from agentd.model.user import AgentUser
from agentd.notify.delivery import LIMIT, Delivery, DeliveryError
from agentd.notify.notice import Notice, applies
from agentd.notify.rate import Rate, admit

log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 100
"""Notices in a rule's queue."""
_BACK_OFF: Final = (1.0, 4.0, 16.0, 60.0, 180.0)
"""Seconds between the attempts to tell a notice."""
_LAST_MOMENT: Final = 2.0
"""Seconds that the daemon's end waits for what is still to be told."""


class Notifier:
    """Tells of events by the rules in force.

    Parameters
    ----------
    user
        Whom commands run as.
    environ
        Their environment.
    redact
        Takes secrets out of a text.
    wall
        Seconds since the epoch.
    now
        The monotonic clock, in seconds.
    """

    def __init__(
        self,
        user: AgentUser,
        environ: Mapping[str, str],
        redact: Callable[[str], str],
        wall: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._user = user
        self._environ = dict(environ)
        self._redact = redact
        self._wall = wall
        self._now = now
        self._host = socket.gethostname()
        self._rules: dict[NotifyRule, _Rule] = {}
        self._secrets: Mapping[str, str] = {}
        self._let_go: dict[NotifyRule, asyncio.Future[None]] = {}
        """The last attempts by rules; of one that is done it does not matter."""

    def configure(self, rules: Sequence[NotifyRule], secrets: Mapping[str, str]) -> None:
        """Follow these rules from now on, signing with these secrets; what a rule that went had to tell is dropped."""
        self._secrets = secrets
        self._let_go = {rule: attempt for rule, attempt in self._let_go.items() if not attempt.done()}
        before, wanted = self._rules, dict.fromkeys(rules)
        self._rules = {rule: before[rule] if rule in before else _Rule(rule, self._tell) for rule in wanted}
        for rule in before.keys() - wanted.keys():
            before[rule].task.cancel()

    def take(self, event: Event) -> None:
        """Tell of an event whom it concerns; at once, and never raising."""
        for rule, state in self._rules.items():
            if not applies(rule, event):
                continue
            state.rate, left_out = admit(state.rate, rule.per_minute, self._now())
            if left_out is None:
                continue
            notice = Notice(
                f"msg_{random.token_hex(12)}", redacted(event, self._redact), self._wall(), self._host, left_out
            )
            try:
                state.waiting.put_nowait(notice)
            except asyncio.QueueFull:
                state.rate = replace(state.rate, left_out=state.rate.left_out + left_out + 1)

    async def _tell(self, rule: NotifyRule, notice: Notice) -> None:
        for pause in (*_BACK_OFF, None):
            secret = None if rule.secret is None else self._secrets.get(rule.secret)
            delivery = Delivery(rule, notice, self._user, self._environ, secret)
            try:
                await self._attempt(rule, delivery)
            except DeliveryError as error:
                if pause is None or not error.again:
                    log.error("notice_not_told", notice=notice.text, reason=str(error))
                    return
                log.warning("notice_delayed", notice=notice.text, reason=str(error))
                await asyncio.sleep(max(pause, error.wait))
            else:
                return

    async def _attempt(self, rule: NotifyRule, delivery: Delivery) -> None:
        """Make an attempt in a thread; one that takes too long, or is not wanted any more, is let go."""
        hangs = self._let_go.get(rule)
        if hangs is not None and not hangs.done():
            # One thread and one process for each rule may be kept by a file system that does not answer, and no more.
            raise DeliveryError("the attempt before has not come to its end: does its program's file system answer?")
        attempt = in_thread("notice", delivery.make)
        # If it is let go, nobody asks what became of it.
        attempt.add_done_callback(_look_at)
        self._let_go[rule] = attempt
        try:
            await asyncio.wait([attempt], timeout=LIMIT + 1)
            if not attempt.done():
                raise DeliveryError(f"it took longer than {LIMIT:.0f} s")
            self._let_go.pop(rule, None)
            attempt.result()
        finally:
            delivery.cancel()

    async def close(self) -> None:
        """Tell what is still to be told, for a moment, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_MOMENT):
                await asyncio.gather(*(rule.waiting.join() for rule in self._rules.values()))
        tasks = [rule.task for rule in self._rules.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._rules = {}


class _Rule:
    """A rule in force, and what waits to be told by it."""

    def __init__(self, rule: NotifyRule, tell: Callable[[NotifyRule, Notice], Awaitable[None]]) -> None:
        self.waiting: asyncio.Queue[Notice] = asyncio.Queue(_MOST_WAITING)
        self.rate = Rate()
        self._rule = rule
        self._tell = tell
        self.task = asyncio.get_running_loop().create_task(self._work(), name="notices")

    async def _work(self) -> None:
        while True:
            notice = await self.waiting.get()
            try:
                await self._tell(self._rule, notice)
            finally:
                self.waiting.task_done()


def _look_at(attempt: asyncio.Future[None]) -> None:
    if not attempt.cancelled():
        attempt.exception()

"""Acts on what agents ask for by the rules in force: allows, denies, or has somebody asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Final

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.model.approvals import ApprovalAction, ApprovalRule
from agentd.model.events import Detail, EventKind
from agentd.turns.activity import line
from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.approvals.asking import asked_of, given_of, resolved_paths
from agentd.turns.approvals.matching import Verdict, decide, rules_of
from agentd.turns.conversation import Request
from agentd.turns.events import Decision
from agentd.turns.run_watch import RunWatch

log = structlog.get_logger(__name__)

BY_RULE: Final = "rule:"
"""What a decision by a rule is said to be by; the rule's name follows."""

Emit = Callable[[str, EventKind, str | None, dict[str, Detail]], None]


class Approver:
    """Decides requests by rules.

    Parameters
    ----------
    looks
        For the files that tools are to work on.
    emit
        Takes what the journal keeps.
    do
        Has work done in a task that somebody owns.
    """

    def __init__(self, looks: Looks, emit: Emit, do: Callable[[Coroutine[object, object, None], str], object]) -> None:
        self._looks = looks
        self._emit = emit
        self._do = do
        self._rules: tuple[ApprovalRule, ...] = ()
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        """Of requests that are denied unless somebody answers, by run and request."""

    def configure(self, rules: Sequence[ApprovalRule], runs: Iterable[RunWatch]) -> None:
        """Follow these rules from now on, also for what is asked already."""
        if tuple(rules) == self._rules:
            return
        self._rules = tuple(rules)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for run in runs:
            for request in run.conversation.requests:
                self.asked(run, request.id)

    def asked(self, run: RunWatch, request_id: str) -> None:
        """A run asks for a permission: decide it, where a rule says how."""
        request = _open(run, request_id)
        if request is not None and rules_of(self._rules, run.agent):
            self._do(self._decide(run, request), f"approval of {run.agent}")

    def over(self, run_id: str, request_id: str) -> None:
        """A request is decided."""
        timer = self._timers.pop((run_id, request_id), None)
        if timer is not None:
            timer.cancel()

    async def verdict(self, agent: str, request: Request, workdir: str | None) -> Verdict:
        """Say what the rules in force say of a request."""
        given = given_of(request)
        found = None
        if given.files and workdir is not None:
            try:
                found = await self._looks.look(workdir, lambda: resolved_paths(given, workdir))
            except (NotAnsweringError, OSError) as error:
                log.warning("approval_path_not_resolved", agent=agent, reason=str(error))
        return decide(self._rules, asked_of(agent, request, given, found))

    async def _decide(self, run: RunWatch, request: Request) -> None:
        verdict = await self.verdict(run.agent, request, str(run.run.facts.workdir))
        rule = verdict.rule
        if rule is None or _open(run, request.id) is None:
            return
        match verdict.action:
            case ApprovalAction.ALLOW:
                await self._answer(run, request, Answer(Decision.ALLOW), rule)
            case ApprovalAction.DENY:
                await self._answer(run, request, Answer(Decision.DENY, f"denied by agentd: {verdict.why}"), rule)
            case _:
                self._ask(run, request, rule, verdict.why)

    async def _answer(self, run: RunWatch, request: Request, answer: Answer, rule: ApprovalRule) -> None:
        try:
            await run.answer(request.id, answer, f"{BY_RULE}{rule.name}")
        except TurnsError as error:
            # Somebody was faster, or the agent has gone on; else it goes on waiting for somebody.
            log.info("approval_not_given", agent=run.agent, rule=rule.name, reason=str(error))

    def _ask(self, run: RunWatch, request: Request, rule: ApprovalRule, why: str) -> None:
        asks = rule.action is ApprovalAction.ASK
        timeout = rule.timeout if asks else None
        data: dict[str, Detail] = {"request": request.id, "name": request.name, "rule": rule.name, "why": why}
        data |= {"whom": rule.whom} if rule.whom else {}
        data |= {} if timeout is None else {"timeout_seconds": timeout}
        self._emit(run.agent, EventKind.APPROVAL_ASKED, line(request.text), data)
        if timeout is not None:
            denied = Answer(Decision.DENY, f"denied by agentd: nobody answered within {timeout:g} s")
            self.over(run.run_id, request.id)
            self._timers[run.run_id, request.id] = asyncio.get_running_loop().call_later(
                timeout, lambda: self._do(self._answer(run, request, denied, rule), f"approval of {run.agent}")
            )


def _open(run: RunWatch, request_id: str) -> Request | None:
    """A permission that still waits; questions are for people."""
    found = (each for each in run.conversation.requests if each.id == request_id and not each.question)
    return next(found, None)

"""From agentd's events to spans. Pure: time is passed in.

A run is a span, and the root of a trace; its turns are spans below it, and the tools that they use below these. A span
is told when it ends: what is open while agentd ends is told by the next agentd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agentd.model.events import Detail, Event, EventKind
from agentd.otel import names
from agentd.otel.ids import run_span_id, tool_span_id, trace_id, turn_span_id
from agentd.otel.values import AgentFacts, Span, SpanEvent, Value, added, message_json, present, text_in, whole_in

USAGE_AFTER: Final = 3.0
"""Seconds for which a turn that has ended waits for what it used, which is told up to a second later."""

MOST_TOOLS: Final = 1000
"""Uses of tools in a turn that are told."""

_MOST_ENDED: Final = 32
"""Turns of an agent that wait for what they used."""


@dataclass(frozen=True, slots=True)
class _Tool:
    id: int
    name: str
    call: str
    start: float
    arguments: str | None


@dataclass(frozen=True, slots=True)
class _Turn:
    run: str
    id: int
    turn: str
    start: float
    attributes: Mapping[str, Value]
    tools: Mapping[str, _Tool] = field(default_factory=dict)
    told_tools: int = 0
    events: tuple[SpanEvent, ...] = ()
    ended: float | None = None
    error: bool = False
    message: str | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    id: str
    start: float
    """Of the launch; of one that was taken over, when that was."""
    restarts: int | None = None
    stopped: str | None = None
    """Why agentd stops it."""
    last_turn: str | None = None
    repeats: int = 0
    """How often the last turn's id came before, in a row."""


@dataclass(frozen=True, slots=True)
class _Agent:
    run: _Run | None = None
    turn: _Turn | None = None
    ended: tuple[_Turn, ...] = ()
    """Turns that wait for what they used."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """What is open."""

    content: bool = False
    """Whether what agents are told and what they say is told."""
    agents: Mapping[str, _Agent] = field(default_factory=dict)


def step(tracing: Tracing, event: Event, at: float, facts: AgentFacts | None) -> tuple[Tracing, tuple[Span, ...]]:
    """Take an event.

    Parameters
    ----------
    at
        When it happened, in seconds since the epoch.
    facts
        What is known of its agent.

    Returns
    -------
    tuple
        What is open afterwards, and the spans that have ended.
    """
    name = event.agent
    if name is None:
        return tracing, ()
    before = tracing.agents.get(name, _Agent())
    agent, spans = _Step(name, facts, at, tracing.content).take(before, event)
    if agent is before:
        return tracing, spans
    agents = dict(tracing.agents)
    agents[name] = agent
    if agent == _Agent():
        del agents[name]
    return replace(tracing, agents=agents), spans


def settle(tracing: Tracing, at: float, most: int | None = None) -> tuple[Tracing, tuple[Span, ...]]:
    """Close the turns that have waited long enough for their usage; with an infinite time, all that have ended.

    Parameters
    ----------
    most
        Begin with no other agent once there are so many.
    """
    agents, spans = dict(tracing.agents), list[Span]()
    for name, agent in tracing.agents.items():
        if most is not None and len(spans) >= most:
            break
        due = [turn for turn in agent.ended if turn.ended is not None and turn.ended + USAGE_AFTER <= at]
        if due:
            spans += [_span_of(turn) for turn in due]
            agents[name] = replace(agent, ended=tuple(turn for turn in agent.ended if turn not in due))
    return (replace(tracing, agents=agents), tuple(spans)) if spans else (tracing, ())


def next_due(tracing: Tracing) -> float | None:
    """When `settle` has something to do next; ``None`` if nothing waits."""
    ends = [turn.ended for agent in tracing.agents.values() for turn in agent.ended if turn.ended is not None]
    return min(ends) + USAGE_AFTER if ends else None


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    facts: AgentFacts | None
    at: float
    content: bool

    def take(self, agent: _Agent, event: Event) -> tuple[_Agent, tuple[Span, ...]]:
        data = event.data
        match event.kind:
            case EventKind.LAUNCHED | EventKind.STARTED | EventKind.ADOPTED:
                return self._run_begins(agent, data), ()
            case EventKind.STOPPING if agent.run is not None:
                return replace(agent, run=replace(agent.run, stopped=text_in(data, "cause"))), ()
            case EventKind.EXITED | EventKind.LAUNCH_FAILED:
                return self._run_ends(agent, event), self._run_span(agent, event)
            case EventKind.REMOVED:
                return _Agent(), tuple(_span_of(turn) for turn in agent.ended)
            case _:
                return self._turn(agent, event)

    def _turn(self, agent: _Agent, event: Event) -> tuple[_Agent, tuple[Span, ...]]:
        match event.kind:
            case EventKind.TURN_STARTED:
                return self._turn_begins(agent, event.data)
            case EventKind.TURN_ENDED:
                return self._turn_ends(agent, event)
            case EventKind.TURN_USAGE:
                return self._used(agent, event.data)
            case _:
                turn = None if agent.turn is None else self._in_turn(agent.turn, event)
                return (agent, ()) if turn is None else (replace(agent, turn=turn[0]), turn[1])

    def _run_begins(self, agent: _Agent, data: Mapping[str, Detail]) -> _Agent:
        run = text_in(data, "run")
        if run is None:
            return agent
        restarts = whole_in(data, "restarts")
        if agent.run is not None and agent.run.id == run:
            return agent
        return replace(agent, run=_Run(run, self.at, restarts))

    def _run_ends(self, agent: _Agent, event: Event) -> _Agent:
        """Keep the run: what its last turn was is told after its end."""
        name = text_in(event.data, "run")
        return agent if name is None or agent.run is not None else replace(agent, run=_Run(name, self.at))

    def _run_span(self, agent: _Agent, event: Event) -> tuple[Span, ...]:
        data = event.data
        name = text_in(data, "run")
        if name is None:
            return ()
        run = agent.run if agent.run is not None and agent.run.id == name else _Run(name, self.at)
        lasted = data.get("ran_seconds")
        start = self.at - lasted if isinstance(lasted, int | float) else run.start
        code, signal = whole_in(data, "exit_code"), whole_in(data, "exit_signal")
        error = _error_of_run(event, run.stopped)
        attributes = self._known() | present(
            {
                names.RUN: name,
                names.RESTARTS: run.restarts,
                names.PID: whole_in(data, "pid"),
                names.EXIT_CODE: code,
                names.SIGNAL: signal,
                names.REASON: event.reason,
                names.STOPPED: run.stopped,
                names.ERROR: error,
            }
        )
        span = Span(
            f"run {self.name}",
            trace_id(name),
            run_span_id(name),
            None,
            min(start, self.at),
            self.at,
            attributes,
            error=error is not None,
            message=event.reason if error is not None else None,
        )
        return (span,)

    def _turn_begins(self, agent: _Agent, data: Mapping[str, Detail]) -> tuple[_Agent, tuple[Span, ...]]:
        if agent.run is None:
            return agent, ()
        # One that began before and never ended: its end was not told.
        former = () if agent.turn is None else (_span_of(replace(agent.turn, ended=self.at)),)
        run = _counted(agent.run, text_in(data, "turn") or "")
        turn = self._new_turn(run, data, seen=True)
        prompt = text_in(data, "prompt")
        if self.content and prompt is not None:
            turn = _with(turn, {names.INPUT_MESSAGES: message_json("user", prompt)})
        return replace(agent, turn=turn, run=run), former

    def _new_turn(self, run: _Run, data: Mapping[str, Detail], *, seen: bool) -> _Turn:
        turn = text_in(data, "turn") or ""
        attributes = self._known() | present(
            {
                names.OPERATION: names.INVOKE_AGENT,
                names.RUN: run.id,
                names.TURN: turn or None,
                names.CONVERSATION: text_in(data, "conversation"),
                names.NOT_SEEN: None if seen else True,
            }
        )
        start = self.at if seen else min(run.start, self.at)
        return _Turn(run.id, turn_span_id(run.id, turn, run.repeats), turn, start, attributes)

    def _turn_ends(self, agent: _Agent, event: Event) -> tuple[_Agent, tuple[Span, ...]]:
        data = event.data
        turn = agent.turn
        if turn is None:
            if agent.run is None:
                return agent, ()
            turn = self._new_turn(_counted(agent.run, text_in(data, "turn") or ""), data, seen=False)
        outcome = text_in(data, "outcome")
        finish = {"completed": "stop", "failed": "error"}.get(outcome or "")
        failure = text_in(data, "failure") or (outcome if outcome in ("failed", "lost") else None)
        answer = text_in(data, "text")
        more = {
            names.OUTCOME: outcome,
            names.CONVERSATION: text_in(data, "conversation"),
            names.FINISH_REASONS: None if finish is None else (finish,),
            names.ERROR: failure,
            names.OUTPUT_MESSAGES: None
            if answer is None or not self.content
            else message_json("assistant", answer, finish or "stop"),
        }
        ended = replace(
            _with(turn, present(more)),
            ended=self.at,
            error=failure is not None,
            message=event.reason if self.content and failure is not None else None,
        )
        spans = [_span_of_tool(ended, tool, self.at, ok=None) for tool in turn.tools.values()]
        waiting = (*agent.ended, replace(ended, tools={}))
        spans += [_span_of(each) for each in waiting[:-_MOST_ENDED]]
        return replace(agent, turn=None, ended=waiting[-_MOST_ENDED:]), tuple(spans)

    def _used(self, agent: _Agent, data: Mapping[str, Detail]) -> tuple[_Agent, tuple[Span, ...]]:
        run, name = text_in(data, "run"), text_in(data, "turn") or ""
        found = next((each for each in reversed(agent.ended) if each.run == run and each.turn == name), None)
        if found is None:
            return agent, ()
        told, read, written = (whole_in(data, f"{each}_tokens") or 0 for each in ("input", "cache_read", "cache_write"))
        cost = data.get("cost_usd")
        # The conventions count what is cached among the input.
        used = {
            names.INPUT_TOKENS: told + read + written,
            names.OUTPUT_TOKENS: whole_in(data, "output_tokens") or 0,
            names.CACHE_READ_TOKENS: read or None,
            names.CACHE_WRITE_TOKENS: written or None,
            names.COST: cost if isinstance(cost, float) else None,
        }
        more = {name: added(found.attributes.get(name), value) for name, value in present(used).items()}
        ended = tuple(_with(each, more) if each is found else each for each in agent.ended)
        return replace(agent, ended=ended), ()

    def _in_turn(self, turn: _Turn, event: Event) -> tuple[_Turn, tuple[Span, ...]] | None:
        data = event.data
        match event.kind:
            case EventKind.TURN_TOOL_STARTED:
                return self._tool_begins(turn, event), ()
            case EventKind.TURN_TOOL_COMPLETED:
                call = text_in(data, "tool") or ""
                tool = turn.tools.get(call)
                if tool is None:
                    return None
                left = {name: each for name, each in turn.tools.items() if name != call}
                span = _span_of_tool(turn, tool, self.at, ok=data.get("ok") is not False)
                return replace(turn, tools=left), (span,)
            case EventKind.TURN_PERMISSION_ASKED | EventKind.TURN_PERMISSION_RESOLVED | EventKind.TURN_QUESTION_ASKED:
                kept = {
                    "gen_ai.tool.name": text_in(data, "name"),
                    "agentd.request.id": text_in(data, "request"),
                    "agentd.request.decision": text_in(data, "decision"),
                    "agentd.request.by": text_in(data, "by"),
                    "agentd.request.text": event.reason if self.content else None,
                }
                if len(turn.events) >= MOST_TOOLS:
                    return None
                name = "agentd." + event.kind.value.removeprefix("turn_")
                return replace(turn, events=(*turn.events, SpanEvent(name, self.at, present(kept)))), ()
            case _:
                return None

    def _tool_begins(self, turn: _Turn, event: Event) -> _Turn:
        call, number = text_in(event.data, "tool") or "", turn.told_tools
        if number >= MOST_TOOLS:
            return turn
        tool = _Tool(
            tool_span_id(turn.id, call, number),
            text_in(event.data, "name") or "unknown",
            call,
            self.at,
            event.reason if self.content else None,
        )
        return replace(turn, tools={**turn.tools, call: tool}, told_tools=number + 1)

    def _known(self) -> dict[str, Value]:
        facts = self.facts
        if facts is None:
            return {names.AGENT: self.name}
        known = {
            names.AGENT: self.name,
            names.HARNESS: facts.harness,
            names.PROVIDER: facts.provider,
            names.MODEL: facts.model,
        }
        return present(known)


def _counted(run: _Run, turn: str) -> _Run:
    """Count a turn that begins; ids tell them apart, but for those of a program that has none."""
    return replace(run, last_turn=turn, repeats=run.repeats + 1 if turn == run.last_turn else 0)


def _error_of_run(event: Event, stopped: str | None) -> str | None:
    """What went wrong in a run, for machines; nothing where agentd stopped it, but for a timeout."""
    if event.kind is EventKind.LAUNCH_FAILED:
        return "launch_failed"
    if (reason := text_in(event.data, "exit_reason")) is not None:
        return reason
    if stopped is not None:
        return stopped if stopped == "timeout" else None
    if (signal := whole_in(event.data, "exit_signal")) is not None:
        return f"signal_{signal}"
    return "exit_status" if whole_in(event.data, "exit_code") != 0 else None


def _with(turn: _Turn, more: Mapping[str, Value]) -> _Turn:
    return replace(turn, attributes={**turn.attributes, **more})


def _span_of(turn: _Turn) -> Span:
    assert turn.ended is not None
    return Span(
        f"{names.INVOKE_AGENT} {turn.attributes[names.AGENT]}",
        trace_id(turn.run),
        turn.id,
        run_span_id(turn.run),
        turn.start,
        max(turn.start, turn.ended),
        turn.attributes,
        turn.error,
        turn.message,
        turn.events,
    )


def _span_of_tool(turn: _Turn, tool: _Tool, at: float, *, ok: bool | None) -> Span:
    """Tell of a tool; whether it succeeded is not known of one that the turn's end cut off."""
    kept = (names.AGENT, names.CONVERSATION, names.RUN)
    known = {name: turn.attributes[name] for name in kept if name in turn.attributes}
    more = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL: tool.name,
        names.TOOL_CALL: tool.call or None,
        names.TOOL_ARGUMENTS: tool.arguments,
        names.ERROR: None if ok else "tool_error" if ok is False else "cut_off",
    }
    return Span(
        f"{names.EXECUTE_TOOL} {tool.name}",
        trace_id(turn.run),
        tool.id,
        turn.id,
        tool.start,
        max(tool.start, at),
        known | present(more),
        error=ok is False,
    )

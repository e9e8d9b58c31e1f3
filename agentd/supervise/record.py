"""What must outlive the daemon, as the JSON that an agent's pane carries.

Times are of the monotonic clock: a tmux server never outlives the boot whose clock that is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, Field, TypeAdapter, ValidationError

from agentd.files.json_faults import first_fault
from agentd.harness.base import StopKey
from agentd.model.capacity import Claims
from agentd.model.events import Detail
from agentd.model.spec import AgentSpec, Policy
from agentd.model.states import AgentState
from agentd.model.status import WorktreeStatus
from agentd.supervise.applying import Hold
from agentd.supervise.desired import DEFAULT_STOP_KEYS
from agentd.supervise.life import Life, Run
from agentd.supervise.policy import Exit
from agentd.supervise.stalls import Stalled
from agentd.supervise.usage_limits import Limited

VERSION = 1

_UNDER_WAY = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING})


def under_way(life: Life) -> bool:
    """Whether there is a run that has not ended: the launcher's reports say what became of it since its launch.

    One that is being stopped, or whose launch was given up, is under way until that is complete: a later daemon, which
    does not know why it was stopped, has to decide that anew.
    """
    run = life.run
    if run is None or life.state not in _UNDER_WAY:
        return False
    return run.ended is None or life.stop is not None or life.state is AgentState.STOPPING


class RecordError(ValueError):
    """A record that this version cannot read."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the API shows of an agent that no configuration declares."""

    harness: str
    type: str
    session: str
    workdir: str
    worktree: WorktreeStatus | None = None
    source: str | None = None
    """The file that declares it, or did last; ``None`` if that is not known."""
    owner: str | None = None

    @property
    def named_source(self) -> dict[str, Detail]:
        """The source as events name it."""
        return {} if self.source is None else {"source": self.source}

    @classmethod
    def of(cls, spec: AgentSpec) -> Description:
        """Take it from a declaration."""
        worktree = None
        if (checkout := spec.checkout) is not None:
            worktree = WorktreeStatus(str(checkout.path), checkout.branch, checkout.base, str(checkout.repo))
        source = None if spec.source is None else str(spec.source)
        return cls(spec.harness, spec.type, spec.session, str(spec.workdir), worktree, source, spec.owner)


@dataclass(frozen=True, slots=True)
class Record:
    """One agent's life, as far as a later daemon must know it."""

    v: int
    agent: str
    described: Description
    state: AgentState
    """``starting`` for every run that has not ended: what became of it, the launcher's reports say."""
    run: Run | None = None
    policy: Policy = Policy()
    fingerprint: dict[str, str] | None = None
    stop_keys: tuple[StopKey, ...] = DEFAULT_STOP_KEYS
    last_exit: Exit | None = None
    outcome: Exit | None = None
    error: str | None = None
    restarts: int = 0
    counted: int = 0
    refusals: Annotated[int, Field(validation_alias=AliasChoices("refusals", "unbegun"))] = 0
    """Called ``unbegun`` in the records of former versions."""
    began: float | None = None
    began_wall: float | None = None
    due: float | None = None
    limited: Limited | None = None
    hold: Hold | None = None
    claims: Claims | None = None
    stalled: Stalled | None = None
    over_budget: str | None = None

    @classmethod
    def of(cls, life: Life, described: Description) -> Record:
        """Take from a life what must be kept."""
        fingerprint = None if life.fingerprint is None else dict(life.fingerprint)
        state, run, error = life.state, life.run, life.error
        if run is not None and under_way(life):
            # As at its launch, so that the record, which tmux took together with that, need not be written again:
            # tmux' part of starting 300 agents was 0.43 s of CPU with a second one of 900 bytes, 0.3 s without.
            state, run, error = AgentState.STARTING, Run(run.id, restart=run.restart, oom_kills=run.oom_kills), None
        return cls(
            v=VERSION,
            agent=life.name,
            described=described,
            state=state,
            run=run,
            policy=life.policy,
            fingerprint=fingerprint,
            stop_keys=life.stop_keys,
            last_exit=life.last_exit,
            outcome=life.outcome,
            error=error,
            restarts=life.restarts,
            counted=life.counted,
            refusals=life.refusals,
            began=life.began,
            began_wall=life.began_wall,
            due=life.due,
            limited=None if life.limited is None else life.limited.kept,
            hold=None if life.hold is None else life.hold.kept,
            claims=life.claims,
            stalled=life.stalled,
            over_budget=life.over_budget,
        )

    def life(self, *, session_open: bool) -> Life:
        """Bring the life back, as it was; `session_open` says whether its pane is there."""
        return Life(
            name=self.agent,
            state=self.state,
            policy=self.policy,
            fingerprint=self.fingerprint,
            stop_keys=self.stop_keys or DEFAULT_STOP_KEYS,
            run=self.run,
            last_exit=self.last_exit,
            outcome=self.outcome,
            error=self.error,
            restarts=self.restarts,
            counted=self.counted,
            refusals=self.refusals,
            began=self.began,
            began_wall=self.began_wall,
            due=self.due,
            limited=None if self.limited is None else self.limited.taken_up,
            hold=self.hold,
            claims=self.claims,
            stalled=self.stalled,
            over_budget=self.over_budget,
            session_open=session_open,
        )

    def dump(self) -> str:
        """Write as one line of JSON without control characters."""
        text = _ADAPTER.dump_json(self, exclude_defaults=True).decode()
        if text.isprintable():
            return text
        # JSON lets DEL and the control characters above ASCII stand as they are; json.dumps escapes them.
        return json.dumps(json.loads(text), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Record:
        """Read a record.

        Raises
        ------
        RecordError
            If it is damaged or of another version.
        """
        try:
            record = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise RecordError(f"expected agentd's record, found trouble at {first_fault(error)}") from None
        if record.v != VERSION:
            raise RecordError(f"expected a record of version {VERSION}, found {record.v}")
        return record


_ADAPTER = TypeAdapter(Record)

"""Plan and policy against a simple model: several agents, random declarations, exits, clock steps and crashes.

``pytest tests/supervise/test_fleet_machine.py --hypothesis-profile=model`` takes more than 50 000 steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentd.model.capacity import Capacity, Claims
from agentd.model.order import After, Overlap, Schedule
from agentd.model.spec import ApplyWhen, Policy, RestartPolicy
from agentd.model.stall import Stall, StallAction, StallPhase
from agentd.model.states import AgentState
from agentd.supervise import hold_steps, stall_steps
from agentd.supervise import transitions as lives
from agentd.supervise.admission import Admission
from agentd.supervise.applying import SCHEDULE_PART
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life, StopReason
from agentd.supervise.plan import Action, Fingerprint, Operation, plan
from agentd.supervise.policy import Exit
from agentd.supervise.scheduler import Scheduler
from agentd.supervise.scheduling import Decision, Standing, started_for
from agentd.supervise.stalls import Seen, Silence
from agentd.text.timestamps import rfc3339
from tests.supervise.crashing_world import CrashingWorld
from tests.supervise.lives import declared
from tests.support.effort import DEFAULT_PROFILE

NAMES = ("a", "b", "c")
ENDINGS = (Exit(code=0), Exit(code=1), Exit(code=2), Exit(signal=9))
policies = st.builds(
    Policy,
    restart=st.sampled_from(RestartPolicy),
    max_restarts=st.sampled_from([0, 1, 3]),
    restart_delay=st.sampled_from([0.0, 1.0, 3.0]),
    restart_delay_max=st.sampled_from([3.0, 10.0]),
    restart_reset=st.sampled_from([20.0, 600.0]),
    success_exit_codes=st.sampled_from([(0,), (0, 2)]),
    timeout=st.sampled_from([None, None, None, 40.0]),
    grace_period=st.sampled_from([0.0, 4.0]),
    apply=st.sampled_from([ApplyWhen.NOW, *ApplyWhen]),
    apply_deadline=st.sampled_from([None, 20.0]),
    applied_at=st.sampled_from([None, None, "now"]),
    stall=st.sampled_from([None, Stall(10.0, 30.0, tuple(StallAction))]),
)
names = st.sampled_from(NAMES)
NOT_YET = (AgentState.PENDING, AgentState.QUEUED, AgentState.DISABLED)
HAVE_SLOTS = (AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF)


@dataclass(frozen=True)
class Table:
    """One agent of the model's jcard."""

    enabled: bool = True
    policy: Policy = Policy()
    launch: str = "first"
    after: tuple[After, ...] = ()
    schedule: Schedule | None = None

    def desired(self, name: str) -> DesiredAgent:
        """What the reconciler is given of it."""
        agent = declared(self.policy, self.launch)
        return replace(
            agent, spec=replace(agent.spec, name=name, enabled=self.enabled, after=self.after, schedule=self.schedule)
        )


class UntimedScheduler(Scheduler):
    """Schedules that come up to the time at passes alone."""

    def _set_timer(self, starts: Iterable[float | None], now: float) -> None:
        pass

    def _tell(self, name: str, schedule: Schedule, decision: Decision, now: float) -> None:
        """Write no log: that would take a tenth of the time."""


def plain(fingerprint: Fingerprint | None) -> Fingerprint | None:
    """Leave out of a launch what it was started for."""
    if fingerprint is None:
        return None
    return {part: each for part, each in fingerprint.items() if part != SCHEDULE_PART}


class FleetMachine(RuleBasedStateMachine):
    """A reconciler's passes over several lives; the model is the jcard and the last thing that happened to each."""

    steps = 0
    """Of all machines of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.jcard: dict[str, Table] = {}
        self.passed: dict[str, DesiredAgent] = {}
        """The declarations of the last pass."""
        self.admitted: dict[str, DesiredAgent] = {}
        """The same, of those that wait for a slot with their places."""
        self.worlds: dict[str, CrashingWorld] = {}
        self.now = 0.0
        self.admission = Admission()
        self.allowed = 0
        """How many may run: who has a slot when the limit is lowered keeps it."""
        self.kept: dict[str, Standing] = {}
        """What the file of schedules says."""
        self.scheduler = self._scheduler()
        self.starts: dict[str, str] = {}
        """The last start of each schedule."""

    # -- the jcard

    @rule(name=names, policy=policies, launch=st.sampled_from(["first", "second"]), enabled=st.booleans())
    def declare(self, name: str, policy: Policy, launch: str, enabled: bool) -> None:
        self.jcard[name] = Table(enabled, policy, launch)
        self.reconcile()

    @precondition(lambda self: self.jcard)
    @rule(name=names, policy=policies)
    def change_policy(self, name: str, policy: Policy) -> None:
        if name in self.jcard:
            self.jcard[name] = replace(self.jcard[name], policy=policy)
        self.reconcile()

    @precondition(lambda self: self.jcard)
    @rule(name=names)
    def remove(self, name: str) -> None:
        self.jcard.pop(name, None)
        self.reconcile()

    @precondition(lambda self: self.jcard)
    @rule(name=st.sampled_from(["b", "c"]), after=st.sampled_from([(), (After("a"),)]))
    def put_after(self, name: str, after: tuple[After, ...]) -> None:
        if name in self.jcard:
            self.jcard[name] = replace(self.jcard[name], after=after)
        self.reconcile()

    @precondition(lambda self: self.jcard)
    @rule(name=names, overlap=st.sampled_from([None, *Overlap]))
    def put_schedule(self, name: str, overlap: Overlap | None) -> None:
        """Have it started every minute."""
        if name in self.jcard:
            schedule = None if overlap is None else Schedule("* * * * *", "UTC", overlap=overlap)
            self.jcard[name] = replace(self.jcard[name], schedule=schedule)
        self.reconcile()

    def _scheduler(self) -> Scheduler:
        return UntimedScheduler(load=lambda: self.kept, keep=self._keep, wall=lambda: self.now)

    def _keep(self, standings: Mapping[str, Standing]) -> None:
        self.kept = dict(standings)

    @rule(running=st.sampled_from([None, 1, 2]))
    def limit(self, running: int | None) -> None:
        self.admission.capacity = None if running is None else Capacity(running)
        self.allowed = max(running or 0, self._slots())
        self.reconcile()

    @rule()
    def reconcile(self) -> None:
        """A pass, as the reconciler makes it; agents that the plan does not name are left alone."""
        desired = {name: self.passed.get(name) for name in self.jcard}
        for name, table in self.jcard.items():
            claims = None if self.admission.capacity is None else Claims("custom")
            fresh = replace(table.desired(name), claims=claims)
            former = desired[name]
            desired[name] = former if former == fresh else fresh
        self.passed = {name: agent for name, agent in desired.items() if agent is not None}
        alive = {name: world.life for name, world in self.worlds.items()}
        scheduled = self.scheduler.apply(self.passed, lambda: alive, all_known=True)
        self.admitted = dict(self.admission.admit(scheduled, alive, self.now))
        operations = {operation.agent: operation for operation in self.pending()}
        self._check_reasons(operations)
        before = {name: world.life for name, world in self.worlds.items()}
        for name, operation in operations.items():
            self._execute(operation, self.admitted.get(name))
        for name, agent in self.passed.items():
            if not agent.spec.enabled and name not in self.worlds:
                self.worlds[name] = CrashingWorld(life=Life(name, AgentState.DISABLED), now=self.now)
        for name, life in before.items():
            if name not in operations:
                assert self.worlds[name].life is life
                agent = self.admitted[name]
                if agent.spec.enabled and life.declared is not agent:
                    self._define(name, agent)
                    self._check_left_alone(life, self.worlds[name].life)

    def pending(self) -> tuple[Operation, ...]:
        observed = [world.life.view for world in self.worlds.values()]
        return plan([agent.view for agent in self.admitted.values()], observed, self.now)

    def _check_reasons(self, operations: dict[str, Operation]) -> None:
        """The plan against the simplest comparison of the two sides."""
        for name in {*self.passed, *self.worlds}:
            wanted, world = self.admitted.get(name), self.worlds.get(name)
            found = operations[name].action if name in operations else None
            if wanted is None:
                assert found is Action.STOP
            elif not wanted.spec.enabled:
                running = world is not None and world.life.state is not AgentState.DISABLED
                assert (found is Action.STOP) == running
            elif world is None or world.life.state in NOT_YET:
                assert found is Action.START
            elif self._differs(world.life, wanted) or world.life.view.leaving:
                by_clock = world.life.state.ended and started_for(world.life) != (wanted.fingerprint or {}).get(
                    "schedule"
                )
                assert found is Action.RESTART or (by_clock and found is Action.START)
                assert not operations[name].waits or self._may_wait(world, wanted) or wanted.queued is not None
            else:
                assert (found is Action.CHANGE) == (world.life.policy != wanted.spec.policy)
                assert found in (None, Action.CHANGE)

    @staticmethod
    def _differs(life: Life, wanted: DesiredAgent) -> bool:
        if wanted.fingerprint is not None and SCHEDULE_PART in wanted.fingerprint:
            return life.fingerprint != wanted.fingerprint
        return plain(life.fingerprint) != wanted.fingerprint

    @staticmethod
    def _may_wait(world: CrashingWorld, wanted: DesiredAgent) -> bool:
        """A change may wait for a running agent alone, and only if its policy says so."""
        return world.life.state is AgentState.RUNNING and wanted.spec.policy.apply is not ApplyWhen.NOW

    def _execute(self, operation: Operation, desired: DesiredAgent | None) -> None:
        name = operation.agent
        if operation.action is Action.STOP:
            reason = StopReason.REMOVED if desired is None else StopReason.DISABLED
            world = self.worlds[name]
            world.tell(lives.withdraw(world.life, reason, world.moment))
            return
        assert desired is not None
        if name not in self.worlds:
            self.worlds[name] = CrashingWorld(life=Life(name), now=self.now)
        before = self.worlds[name].life
        self._define(name, desired)
        if before.state not in HAVE_SLOTS and self.worlds[name].life.state in HAVE_SLOTS and desired.spec.after:
            assert self.worlds["a"].life.state is AgentState.EXITED
        after = self.worlds[name].life
        # Another policy may bring one back that has ended.
        launched = after.state is AgentState.STARTING and operation.action is not Action.CHANGE
        if before.state not in HAVE_SLOTS and launched and desired.spec.schedule is not None:
            self._check_start(name, after)
        if operation.waits and desired.queued is None:
            self._check_left_alone(before, self.worlds[name].life)
            after = self.worlds[name].life
            assert after.stop is not None or after.held is desired
        elif operation.action is Action.RESTART and before.state is AgentState.RUNNING and not before.winding_down:
            assert self.worlds[name].life.stop is not None
        if operation.action is Action.CHANGE and before.state in (AgentState.STARTING, AgentState.RUNNING):
            self._check_left_alone(before, self.worlds[name].life)

    def _check_start(self, name: str, life: Life) -> None:
        """A schedule starts an agent at a time that has come, and never twice for the same."""
        start = started_for(life)
        assert start is not None
        assert self.starts.get(name, "") < start <= rfc3339(self.now)
        self.starts[name] = start

    def _define(self, name: str, desired: DesiredAgent) -> None:
        world = self.worlds[name]
        world.tell(lives.define(world.life, desired, world.moment))

    def _check_left_alone(self, before: Life, after: Life) -> None:
        """A change of policy touches no process, unless the agent's time is over by it."""
        if before.state in (AgentState.STARTING, AgentState.RUNNING) and not before.winding_down:
            overdue = after.stop is not None and after.stop.reason is StopReason.TIMEOUT
            assert overdue or (after.state, after.run) == (before.state, before.run)

    # -- the world

    def _some(self, name: str) -> CrashingWorld | None:
        return self.worlds.get(name)

    @precondition(lambda self: any(not world.idle for world in self.worlds.values()))
    @rule(name=names, count=st.integers(1, 4), refuse=st.sampled_from([False, False, False, True]))
    def work(self, name: str, count: int, refuse: bool) -> None:
        world = self._some(name)
        for _ in range(count):
            if world is not None and not world.idle:
                world.work(refuse=refuse)

    @precondition(lambda self: any(world.life.refused for world in self.worlds.values()))
    @rule(name=names, tried=st.booleans())
    def a_look_finds_all(self, name: str, tried: bool) -> None:
        world = self._some(name)
        if world is not None:
            world.tell(lives.prerequisites_met(world.life, world.moment, tried=tried))

    @precondition(lambda self: any(world.pane is not None for world in self.worlds.values()))
    @rule(name=names, fails=st.sampled_from([False, False, False, True]), told=st.booleans())
    def launcher_acts(self, name: str, fails: bool, told: bool) -> None:
        world = self._some(name)
        if world is None or world.pane is None:
            return
        process = world.processes[world.pane]
        if not process.spawned and not process.failed:
            if fails:
                world.fail(world.pane, "cannot enter the workdir")
            else:
                world.spawn(world.pane)
        if told:
            world.report(world.pane)

    @precondition(lambda self: any(world.pane is not None for world in self.worlds.values()))
    @rule(name=names, ended=st.sampled_from(ENDINGS), told=st.booleans())
    def process_ends(self, name: str, ended: Exit, told: bool) -> None:
        world = self._some(name)
        for run_id, process in () if world is None else list(world.processes.items()):
            assert world is not None
            if process.alive:
                world.end(run_id, ended)
                if told:
                    world.report(run_id)

    @precondition(lambda self: any(world.unreported for world in self.worlds.values()))
    @rule()
    def report_all(self) -> None:
        for world in self.worlds.values():
            for run_id in world.unreported:
                world.report(run_id)

    @precondition(lambda self: self.worlds)
    @rule(name=names, ended=st.sampled_from(ENDINGS), lasted=st.sampled_from([0.0, 1.0, 30.0]), crash=st.booleans())
    def a_whole_run(self, name: str, ended: Exit, lasted: float, crash: bool) -> None:
        """An agent runs and ends, and waits until its back-off is over: what single steps rarely get to."""
        world = self._some(name)
        if world is None:
            return
        world.settle()
        self.launcher_acts(name, fails=False, told=True)
        self.time_passes(lasted)
        self.process_ends(name, ended, told=True)
        world.settle()
        if crash:
            self.crash()
        world = self._some(name)
        if world is not None and world.life.winding_down:
            # The record of a run may be older than what came of it: of one whose agent's time is over, say.
            world.settle()
        if world is not None and world.life.state is AgentState.BACKOFF:
            wake = lives.wake_at(world.life)
            assert wake is not None
            self.time_passes(max(0.0, wake - self.now))

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for world in self.worlds.values():
            world.advance(self.now - world.now)

    @rule()
    def settle(self) -> None:
        """Nothing happens for a moment: everything must be as declared."""
        for name, world in list(self.worlds.items()):
            world.settle()
            if world.life.gone:
                self._forget(name)
        self.reconcile()
        for name, world in list(self.worlds.items()):
            world.settle()
            if world.life.gone:
                self._forget(name)
        # Who has ended since gave way to the next.
        for _ in NAMES:
            self.reconcile()
            for world in self.worlds.values():
                world.settle()
        self._check_settled()

    def _full(self) -> bool:
        """Whether as many agents have slots as may."""
        capacity = self.admission.capacity
        most = None if capacity is None else capacity.running
        return most is not None and self._slots() >= most

    def _slots(self) -> int:
        return sum(world.life.state in HAVE_SLOTS for world in self.worlds.values())

    def _check_settled(self) -> None:
        for name, world in self.worlds.items():
            alive = [run_id for run_id, process in world.processes.items() if process.alive]
            assert len(alive) <= 1
            table, state = self.jcard.get(name), world.life.state
            if table is None or not table.enabled:
                assert state in (AgentState.STOPPING, AgentState.DISABLED)
                continue
            if state is AgentState.QUEUED:
                queued, first = self.admitted[name].queued, self.worlds.get("a")
                assert queued is not None
                if queued.by_clock:
                    standing = self.kept[name]
                    assert table.schedule is not None
                    assert standing.due is None
                    assert standing.upcoming is not None
                    assert standing.upcoming > self.now
                    assert world.life.policy == table.policy
                    continue
                waits = table.after and (first is None or first.life.state is not AgentState.EXITED)
                assert waits if queued.place is None else self._full()
                assert world.life.policy == table.policy
                continue
            if state is not AgentState.STOPPING:
                assert world.life.policy == table.policy
                if world.life.held is None:
                    assert plain(world.life.fingerprint) == {"argv": table.launch}
                else:
                    assert table.policy.apply is ApplyWhen.ASK or world.seen_use
                    assert plain(world.life.held.fingerprint) == {"argv": table.launch}
            assert alive or state is not AgentState.RUNNING
            assert not alive or state in (AgentState.RUNNING, AgentState.STOPPING)
        waiting = {name for name, world in self.worlds.items() if world.life.state is AgentState.STOPPING}
        assert not [each for each in self.pending() if each.agent not in waiting and not each.waits]

    @precondition(lambda self: self.worlds)
    @rule(name=names, lasts=st.sampled_from([0.0, 10.0, 30.0]), went_on=st.booleans(), crash=st.booleans())
    def a_look_at_its_progress(self, name: str, lasts: float, went_on: bool, crash: bool) -> None:
        """An agent does not go on: the next action is tried, by whichever daemon, and none of them twice."""
        world = self._some(name)
        if world is None:
            return
        before = world.life
        silence = Silence(Seen(world.run_id, self.now, StallPhase.MODEL), self.now - lasts)
        world.tell(stall_steps.seen(before, silence, world.moment, went_on=went_on))
        after, was = world.life.stalled, before.stalled
        if after is None or after is was:
            return
        assert before.state is AgentState.RUNNING
        assert before.policy.stall is not None
        assert after.action is before.policy.stall.action[0 if was is None else was.taken]
        assert lasts >= (before.policy.stall.model or 0.0)
        # Once it is written down.
        while crash and not world.idle and world.life.stalled is after:
            world.work()
        if crash and world.life.stalled is after and world.life.state is AgentState.RUNNING:
            self.crash()
            life = self.worlds[name].life
            assert life.stalled == after or life.run is None or life.run.id != after.run

    @rule(name=names, used=st.booleans())
    def somebody_uses_it(self, name: str, used: bool) -> None:
        """Somebody begins to use an agent, or stops: what waits for that is seen after a moment."""
        world = self._some(name)
        if world is None:
            return
        world.use = ("working",) if used else ()
        if not used and world.life.held is not None and world.life.policy.apply is ApplyWhen.IDLE:
            world.settle()
            self.time_passes(hold_steps.LOOK_EVERY)
            world.settle()
            assert world.life.held is None

    @rule(name=names, when=st.sampled_from([ApplyWhen.IDLE, ApplyWhen.ASK]), crash=st.booleans())
    def a_change_while_it_is_used(self, name: str, when: ApplyWhen, crash: bool) -> None:
        """An agent is edited while somebody uses it: what single steps rarely get to."""
        self.declare(name, Policy(), "first", enabled=True)
        world = self.worlds[name]
        world.use = ()
        for _ in range(2):
            # The second time after the stop of what was declared before.
            world.settle()
            self.launcher_acts(name, fails=False, told=True)
            self.time_passes(60.0)
        if world.life.state is not AgentState.RUNNING or world.life.held is not None:
            return
        policy = Policy(apply=when)
        self.change_policy(name, policy)
        run, world.use = world.life.run, ("working",)
        self.declare(name, policy, "second", enabled=True)
        for seconds in (0.0, 1.0, 30.0):
            world.settle()
            self.time_passes(seconds)
            self.reconcile()
            assert (world.life.state, world.life.run) == (AgentState.RUNNING, run)
            assert world.life.held is not None
        if crash:
            world.settle()
            since = world.life.hold
            self.crash()
            world = self.worlds[name]
            world.settle()
            assert since is not None
            assert world.life.hold is not None
            assert world.life.hold.since == since.since
            assert world.life.held is not None
        self.declare(name, replace(policy, applied_at=f"{self.now}"), "second", enabled=True)
        world = self.worlds[name]
        assert world.life.stop is not None

    @rule(name=names, overlap=st.sampled_from(Overlap), crash=st.booleans(), ended=st.booleans())
    def a_start_by_the_clock(self, name: str, overlap: Overlap, crash: bool, ended: bool) -> None:
        """A start is due, perhaps while the run before is not over: what single steps rarely get to."""
        self.jcard[name] = Table(schedule=Schedule("* * * * *", "UTC", overlap=overlap))
        self.reconcile()
        for _ in range(2):
            self.time_passes(60.0)
            self.reconcile()
            self.worlds[name].settle()
            self.launcher_acts(name, fails=False, told=True)
            if crash:
                self.crash()
            world = self.worlds[name]
            world.settle()
            self.reconcile()
            if ended:
                self.process_ends(name, Exit(code=0), told=True)
                world.settle()

    @rule()
    def crash(self) -> None:
        """The daemon is killed; another one adopts what it finds, and makes a pass."""
        for name, world in list(self.worlds.items()):
            counts = world.life.restarts, world.life.counted
            quiet = world.idle and not world.unreported and world.life.stop is None
            before = world.life
            run = None if before.run is None else world.processes.get(before.run.id)
            if run is None or not run.spawned:
                # What was decided and never ran is decided again.
                self.starts.pop(name, None)
            world.crash()
            if quiet and not world.life.gone and before.state not in (AgentState.PENDING, AgentState.DISABLED):
                assert (world.life.restarts, world.life.counted) == counts or before.run is None or world.pane is None
                assert world.pane is None or world.life.began == before.began
            if world.life.state is AgentState.PENDING:
                del self.worlds[name]
        self.passed = {}
        self.scheduler = self._scheduler()
        self.reconcile()

    def _forget(self, name: str) -> None:
        world = self.worlds.pop(name)
        assert not any(process.alive or process.remains for process in world.processes.values())
        assert world.pane is None

    @invariant()
    def never_two_runs_of_an_agent(self) -> None:
        FleetMachine.steps += 1
        if self.admission.capacity is not None:
            most = self.admission.capacity.running or 0
            # By state, for a run that ended while there was no daemon has its slot until that is seen.
            self.allowed = max(most, min(self.allowed, self._slots()))
            # A launch that is given up, since nothing was seen of it, is being killed when its slot is given on.
            alive = [
                world
                for world in self.worlds.values()
                if world.life.state in HAVE_SLOTS and any(each.alive for each in world.processes.values())
            ]
            assert len(alive) <= self.allowed
        for world in self.worlds.values():
            assert sum(process.alive for process in world.processes.values()) <= 1

    def teardown(self) -> None:
        """Whatever happened: with time, what is removed goes."""
        self.jcard.clear()
        self.reconcile()
        for world in self.worlds.values():
            world.use = ()
        for _ in range(50):
            self.settle()
            if not self.worlds:
                return
            self.time_passes(30.0)
        raise AssertionError(f"still there: {[world.life for world in self.worlds.values()]}")


TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(TestFleet.settings, deadline=None)
if settings.get_current_profile_name() == DEFAULT_PROFILE:
    # CI takes 50 000 steps by the profile "model".
    TestFleet.settings = settings(TestFleet.settings, max_examples=20)


def test_the_long_form_is_long_enough() -> None:
    """Comes after the machine; with the usual profile it says nothing."""
    if settings.get_current_profile_name() == "model":
        assert FleetMachine.steps >= 50_000

"""Lives in a world where anything may happen at any moment.

``pytest tests/supervise/test_life_machine.py --hypothesis-profile=thorough`` takes more than 50 000 steps.
"""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentd.model.budgets import BreachAction
from agentd.model.spec import Policy, RestartPolicy
from agentd.model.stall import Stall, StallAction, StallPhase
from agentd.model.states import Activity, AgentState
from agentd.model.usage_limits import Hours, LimitAction, UsageLimitPolicy
from agentd.supervise import budget_steps, stall_steps
from agentd.supervise import transitions as lives
from agentd.supervise.budgets import Account, Bound, Breach, BudgetUse
from agentd.supervise.life import KillRun, LaunchRun, Life, ReportStopped, StopReason
from agentd.supervise.plan import plan
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description, Record
from agentd.supervise.stalls import Seen, Silence
from agentd.supervise.usage_limits import LimitHit
from tests.supervise.life_world import World
from tests.supervise.lives import declared, stale
from tests.support.effort import DEFAULT_PROFILE

policies = st.builds(
    Policy,
    restart=st.sampled_from(RestartPolicy),
    max_restarts=st.sampled_from([0, 1, 2]),
    restart_delay=st.sampled_from([0.0, 3.0]),
    restart_delay_max=st.sampled_from([3.0, 10.0]),
    restart_reset=st.sampled_from([20.0, 600.0]),
    timeout=st.sampled_from([None, None, 5.0, 100.0]),
    grace_period=st.sampled_from([0.0, 1.0, 30.0]),
    on_usage_limit=st.none()
    | st.builds(
        UsageLimitPolicy,
        st.sampled_from(LimitAction),
        jitter=st.sampled_from([0.0, 5.0]),
        max_resumes=st.sampled_from([0, 1, 2]),
        hours=st.sampled_from([None, None, Hours(0, 60)]),
    ),
    stall=st.sampled_from(
        [None, Stall(10.0, 30.0, tuple(StallAction)), Stall(10.0, None, (StallAction.RESTART, StallAction.NOTIFY))]
    ),
)
launches = st.sampled_from(["first", "second", None])
exits = st.sampled_from([Exit(code=0), Exit(code=1), Exit(signal=9)])
reasons = st.sampled_from([StopReason.REMOVED, StopReason.DISABLED])
DESCRIBED = Description("custom", "native", "a", "/")


class LifeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.closing = False

    @property
    def life(self) -> Life:
        return self.world.life

    # -- what is declared

    @precondition(lambda self: not self.closing)
    @rule(policy=policies, launch=launches)
    def define(self, policy: Policy, launch: str | None) -> None:
        self.world.tell(lives.define(self.life, declared(policy, launch), self.world.moment))

    @precondition(lambda self: not self.closing and self.life.desired is not None)
    @rule()
    def define_the_same(self) -> None:
        before, desired = self.life, self.life.desired
        assert desired is not None
        self.world.tell(lives.define(before, desired, self.world.moment))
        assert self.life == before

    @precondition(lambda self: not self.closing and self.life.run is not None)
    @rule(launch=st.sampled_from(["first", "second"]))
    def define_another_launch(self, launch: str) -> None:
        self.world.tell(lives.define(self.life, declared(self.life.policy, launch), self.world.moment))

    @precondition(lambda self: not self.closing)
    @rule(reason=reasons)
    def withdraw(self, reason: StopReason) -> None:
        self.world.tell(lives.withdraw(self.life, reason, self.world.moment))

    @precondition(lambda self: not self.closing and self.life.run is not None)
    @rule()
    def shut_down(self) -> None:
        self.closing = True
        self.world.tell(lives.withdraw(self.life, StopReason.SHUTDOWN, self.world.moment))

    @precondition(lambda self: self.closing)
    @rule()
    def kill_now(self) -> None:
        self.world.tell(lives.kill_now(self.life, self.world.moment))

    # -- what happens outside

    @precondition(lambda self: not self.world.idle)
    @rule(refuse=st.booleans())
    def work(self, refuse: bool) -> None:
        self.world.work(refuse=refuse)

    @precondition(lambda self: self._launching is not None)
    @rule(fails=st.sampled_from([False, False, True]))
    def launcher_acts(self, fails: bool) -> None:
        run_id = self._launching
        assert run_id is not None
        if fails:
            self.world.fail(run_id, "cannot enter the workdir")
        else:
            self.world.spawn(run_id)

    @property
    def _launching(self) -> str | None:
        """The run whose launcher has done nothing yet."""
        pane = self.world.pane
        if pane is None:
            return None
        process = self.world.processes[pane]
        return None if process.spawned or process.failed else pane

    @precondition(lambda self: any(process.alive for process in self.world.processes.values()))
    @rule(ended=exits)
    def process_ends(self, ended: Exit) -> None:
        run_id = next(run_id for run_id, process in self.world.processes.items() if process.alive)
        self.world.end(run_id, ended)

    @precondition(lambda self: self.world.unreported)
    @rule()
    def report(self) -> None:
        self.world.report(self.world.unreported[0])

    @precondition(lambda self: self.world.pane is not None and self.world.opening is None)
    @rule()
    def session_lost(self) -> None:
        world = self.world
        assert world.pane is not None
        run_id, launching = world.pane, self._launching is not None
        world.close_pane()
        world.report(run_id)
        world.tell(lives.session_lost(self.life, "closed", world.moment))
        if launching and self.life.state is AgentState.STARTING:
            world.tell(lives.launch_failed(self.life, run_id, "closed while it started", world.moment))

    @precondition(lambda self: self.life.run is not None)
    @rule(activity=st.sampled_from(Activity), left=st.sampled_from([None, -1.0, 0.0, 7.0]))
    def watcher_tells(self, activity: Activity, left: float | None) -> None:
        wall = self.world.moment.wall
        limited = activity is Activity.USAGE_LIMIT
        hit = LimitHit(wall, None if left is None else wall + left, "hooks", "at its limit") if limited else None
        self.world.does(activity, hit)

    @rule(phase=st.sampled_from(StallPhase), lasts=st.sampled_from([0.0, 10.0, 30.0]), went_on=st.booleans())
    def a_look_at_its_progress(self, phase: StallPhase, lasts: float, went_on: bool) -> None:
        before, moment = self.life, self.world.moment
        silence = Silence(Seen(self.world.run_id, moment.now, phase), moment.now - lasts)
        self.world.tell(stall_steps.seen(before, silence, moment, went_on=went_on))
        after, stall = self.life.stalled, before.policy.stall
        if before.state is not AgentState.RUNNING:
            assert self.life is before
        elif went_on or stall is None:
            assert after is None
        elif after is not before.stalled:
            assert after is not None
            taken = 0 if before.stalled is None else before.stalled.taken
            # Each action once, in order, and none before its time.
            assert (after.taken, after.action) == (taken + 1, stall.action[taken])
            assert lasts >= (stall.budget(phase) or 0.0)
            assert (self.life.state is AgentState.STOPPING) == after.action.stops

    @rule(action=st.sampled_from(BreachAction), of_this_run=st.booleans())
    def a_budget_is_used_up(self, action: BreachAction, of_this_run: bool) -> None:
        before, run = self.life, self.world.run_id if of_this_run else "another"
        use = BudgetUse(Account(run=run), Breach("a", Bound.TURNS, 1, 1, action))
        self.world.tell(budget_steps.observed(before, self.world.run_id, use, self.world.moment))
        if before.state is AgentState.RUNNING and of_this_run and action is BreachAction.STOP:
            assert self.life.stop is not None
            assert self.life.stop.reason is StopReason.BUDGET
        else:
            assert self.life is before

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: lives.wake_at(self.life) is not None)
    @rule()
    def time_passes_until_it_wakes(self) -> None:
        wake = lives.wake_at(self.life)
        assert wake is not None
        self.world.advance(max(0.0, wake - self.world.now))

    @rule()
    def a_tick_that_nobody_asked_for(self) -> None:
        wake = lives.wake_at(self.life)
        before = self.life
        self.world.tell(lives.tick(self.life, self.world.moment))
        assert self.life == before or (wake is not None and wake <= self.world.now)

    @rule(tried=st.booleans())
    def a_look_finds_all(self, tried: bool) -> None:
        before, wanting = self.life, self.life.refused
        self.world.tell(lives.prerequisites_met(before, self.world.moment, tried=tried))
        assert wanting or self.life is before
        assert not (wanting and not tried) or self.life.state is AgentState.STARTING

    @rule()
    def its_workdir_is_covered(self) -> None:
        before = self.life
        self.world.tell(lives.mounted_over(before, "covered", self.world.moment))
        assert self.life is before or before.state is AgentState.RUNNING

    @rule()
    def news_of_another_run(self) -> None:
        moment, name = self.world.moment, stale(self.life)
        for step in (
            lives.launch_failed(self.life, name, "late", moment),
            lives.launch_refused(self.life, name, "late", moment),
            lives.launch_put_off(self.life, name, moment),
            lives.started(self.life, name, 7, moment),
            lives.exited(self.life, name, Exit(code=0), moment),
        ):
            assert step == (self.life, ())

    @precondition(lambda self: not self.closing and self.world.idle and self.life.session_open and not self.life.gone)
    @rule()
    def daemon_restarts(self) -> None:
        """A crash between two events: the record comes back, the declaration and any stop under way do not."""
        life = Record.parse(Record.of(self.life, DESCRIBED).dump()).life(session_open=True)
        if life.run is None or life.run.ended is not None:
            assert life == replace(self.life, desired=None, stop=None)
        else:
            # What became of the run is read from the launcher's reports, which are still there.
            life = replace(life, run=replace(life.run, launched=self.world.now))
            if life.run is not None and life.run.id in self.world.processes:
                self.world.processes[life.run.id].seen = False
        self.world.life = life

    @precondition(lambda self: self.life.gone and self.world.idle)
    @rule()
    def it_is_forgotten(self) -> None:
        self._check_gone()
        self.world = World(now=self.world.now)
        self.closing = False

    def _check_gone(self) -> None:
        assert not any(process.alive or process.remains for process in self.world.processes.values())
        assert self.world.pane is None or self.closing

    # -- what holds at any time

    @invariant()
    def it_waits_for_something_that_will_come(self) -> None:
        life, world = self.life, self.world
        assert (life.stop is not None) == (life.state is AgentState.STOPPING or life.winding_down)
        if life.winding_down:
            assert ReportStopped() in world.queue
        elif life.stop is not None and not life.stop.steps:
            coming = any(isinstance(effect, KillRun | LaunchRun) for effect in world.queue)
            alive = any(process.alive for process in world.processes.values())
            assert coming or alive or world.unreported or world.opening is not None

    @invariant()
    def waking_it_gets_it_further(self) -> None:
        life, wake = self.life, lives.wake_at(self.life)
        for _ in range(5):
            if wake is None:
                break
            assert math.isfinite(wake)
            moment = replace(self.world.moment, now=max(wake, self.world.now))
            before = life
            life, _ = lives.tick(life, moment)
            assert life != before
            wake = lives.wake_at(life)
            if wake is not None and wake > moment.now:
                break
        else:
            raise AssertionError("it wants to be woken at once for ever")

    @invariant()
    def its_state_is_true(self) -> None:
        life = self.life
        assert (life.due is not None) <= (life.state is AgentState.BACKOFF)
        assert life.last_exit == self.world.last_exit
        if life.state is AgentState.RUNNING:
            assert life.run is not None
            assert life.run.pid is not None
            assert life.run.ended is None
        if life.state is AgentState.EXITED:
            assert life.error is None
            assert life.last_exit is not None
            assert life.last_exit.succeeded(life.policy)
        if life.state in (AgentState.FAILED, AgentState.TIMED_OUT):
            assert life.error

    @invariant()
    def what_its_budget_ended_is_launched_by_nobody_but_a_definition(self) -> None:
        life = self.life
        if life.over_budget is not None and life.stop is None and life.state is not AgentState.STOPPING:
            # By a timeout, a removal or a change that came meanwhile, or as a failure that says so.
            assert life.state is not AgentState.BACKOFF
            assert life.due is None

    @invariant()
    def what_is_gone_stays_quiet(self) -> None:
        if self.life.gone:
            assert lives.wake_at(self.life) is None
            assert lives.tick(self.life, self.world.moment) == (self.life, ())

    def teardown(self) -> None:
        """Whatever happened: what is declared is reached, and what is removed goes, leaving nothing."""
        world = self.world
        world.settle()
        desired = self.life.desired
        if desired is not None and not self.closing and self.life.state is not AgentState.STOPPING:
            assert plan([desired.view], [self.life.view]) == ()
        if not self.closing:
            world.tell(lives.withdraw(self.life, StopReason.REMOVED, world.moment))
        for _ in range(20):
            world.settle()
            if self.life.gone:
                break
            wake = lives.wake_at(self.life)
            assert wake is not None, f"it waits for nothing: {self.life}"
            world.advance(max(0.0, wake - world.now))
        assert self.life.gone
        self._check_gone()


# The profile says how much; pytest tries a class of this name.
TestLife = LifeMachine.TestCase
TestLife.settings = settings(TestLife.settings, deadline=None)
if settings.get_current_profile_name() == DEFAULT_PROFILE:
    # The profiles "thorough" and "model" take many more.
    TestLife.settings = settings(TestLife.settings, max_examples=20)

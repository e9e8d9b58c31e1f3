"""What comes by triggers against a model: each has one run, in order, over runs that end and daemons that die."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.plan import plan
from agentd.supervise.policy import Exit
from agentd.supervise.trigger_queue import Kept, TriggerQueue
from agentd.supervise.triggering import Verdict, started_for
from tests.supervise.crashing_world import CrashingWorld
from tests.supervise.test_triggering import INBOX, agent, argv, came
from tests.support.effort import DEFAULT_PROFILE


class TriggerMachine(RuleBasedStateMachine):
    """One agent with a trigger; the model is the list of what was accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.desired: DesiredAgent = agent()
        self.queue = self._queue()
        self.world: CrashingWorld | None = None
        self.accepted: list[str] = []
        self.ran: dict[str, str] = {}
        """What each run is for that had a process."""
        self.now = 0.0
        self.reconcile()

    def _queue(self) -> TriggerQueue:
        return TriggerQueue(load=lambda: self.kept, keep=self._keep, wall=lambda: self.now)

    def _keep(self, kept: Kept) -> None:
        self.kept = kept

    @rule()
    def reconcile(self) -> None:
        """A pass, as the reconciler makes it."""
        alive = {} if self.world is None else {"a": self.world.life}
        given = self.queue.apply({"a": self.desired}, lambda: alive, all_known=True)["a"]
        if self.world is None:
            self.world = CrashingWorld(life=Life("a"), now=self.now)
        operations = plan([given.view], [self.world.life.view], self.now)
        # By default, what comes waits for the end of a run.
        assert not operations or self.world.life.state is not AgentState.RUNNING
        if operations or self.world.life.declared is not given:
            self.world.tell(lives.define(self.world.life, given, self.world.moment))

    @rule(edited=st.booleans())
    def restart_agentd(self, edited: bool) -> None:
        """The daemon is killed; another one adopts what it finds."""
        assert self.world is not None
        self.world.crash()
        if self.world.life.state is AgentState.PENDING:
            self.world = None
        self.desired = replace(self.desired) if edited else self.desired
        self.queue = self._queue()
        self.reconcile()

    @rule(again=st.booleans())
    def something_comes(self, again: bool) -> None:
        number = self.accepted[-1] if again and self.accepted else str(len(self.accepted))
        assert self.world is not None
        verdict, _ = self.queue.offer(INBOX, came(number, f"/in/{number}"), self.world.life)
        if number in self.accepted:
            assert verdict is Verdict.KNOWN
        else:
            assert verdict is Verdict.ACCEPTED
            self.accepted.append(number)
        self.reconcile()

    @rule(count=st.integers(1, 3))
    def work(self, count: int) -> None:
        assert self.world is not None
        for _ in range(count):
            if not self.world.idle:
                self.world.work()

    @rule(told=st.booleans())
    def a_process_begins(self, told: bool) -> None:
        world = self.world
        if world is None or world.pane is None or world.opening is not None:
            return
        process = world.processes[world.pane]
        if not process.spawned:
            number = started_for(world.life)
            assert number is not None
            assert world.life.desired is not None
            assert argv(world.life.desired)[-1] == f'read "/in/{number}"'
            self.ran[world.pane] = number
            world.spawn(world.pane)
        if told:
            world.report(world.pane)
            # Its state is another: a pass is made at once.
            self.reconcile()

    @rule(code=st.sampled_from([0, 1]))
    def it_ends(self, code: int) -> None:
        assert self.world is not None
        for run_id, process in list(self.world.processes.items()):
            if process.alive:
                self.world.end(run_id, Exit(code=code))
                self.world.report(run_id)
        self.reconcile()

    @invariant()
    def each_has_one_run_in_order(self) -> None:
        assert list(self.ran.values()) == self.accepted[: len(self.ran)]

    def teardown(self) -> None:
        """Whatever happened: with time, all that was accepted has had its run."""
        for _ in range(6 * len(self.accepted) + 6):
            assert self.world is not None
            while not self.world.idle:
                self.world.work()
            self.a_process_begins(told=True)
            self.it_ends(0)
        assert list(self.ran.values()) == self.accepted
        assert not self.queue.waits


TestTriggers = TriggerMachine.TestCase
TestTriggers.settings = settings(TestTriggers.settings, deadline=None)
if settings.get_current_profile_name() == DEFAULT_PROFILE:
    # CI takes 200 by the profile "model".
    TestTriggers.settings = settings(TestTriggers.settings, max_examples=15)
elif settings.get_current_profile_name() == "model":
    TestTriggers.settings = settings(TestTriggers.settings, max_examples=200)

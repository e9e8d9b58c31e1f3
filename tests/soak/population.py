"""The agents of the soak: what each kind does, what is declared of them, and how an operator changes it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.support.agents import jcard

_MARK = 'echo "$$ $AGENTD_RUN_ID $VERSION" >>"$0/$AGENTD_AGENT"; '
"""An agent's first act, seen by nobody but the oracle: `$0` is the folder of the marks."""

_STAY = "while :; do sleep 1000 & wait $!; done"


@dataclass(frozen=True, slots=True)
class Kind:
    """One behaviour."""

    name: str
    script: str
    stays: bool = True
    """Whether there is a run at any moment; else it ends and is restarted."""
    fields: dict[str, object] = field(default_factory=dict)


SENTINEL = Kind("sentinel", f"exec sleep 100000; {_STAY}")
"""Never named by an edit, given no secret: it must run once, from the first minute to the last."""

_SOON: dict[str, object] = {"restart_delay": "500ms", "restart_delay_max": "4s"}
KINDS = (
    Kind("quiet", _STAY),
    Kind("chatter", 'n=0; while :; do n=$((n+1)); echo "line $n of $AGENTD_AGENT"; sleep 2; done'),
    Kind("deaf", f"trap '' INT TERM HUP; {_STAY}", fields={"grace_period": "1s"}),
    Kind("brood", f"setsid sh -c 'trap \"\" INT TERM HUP; sleep 100000' & {_STAY}", fields={"grace_period": "2s"}),
    Kind("flood", f"yes 'a line of the flood, eighty columns long' | head -n 20000; {_STAY}"),
    Kind("painter", "printf '\\033[?1049h\\033]2;title\\007'; while :; do printf '\\033[H%s' $$; sleep 3; done"),
    Kind("keyed", _STAY, fields={"secrets": ["ROTATING"]}),
    Kind("crasher", "sleep $((5 + $$ % 15)); exit 3", stays=False, fields={"restart": "on-failure", **_SOON}),
    Kind("killed", "sleep $((7 + $$ % 20)); kill -9 $$", stays=False, fields={"restart": "on-failure", **_SOON}),
    Kind("worker", "sleep $((10 + $$ % 30)); exit 0", stays=False, fields={"restart": "always", **_SOON}),
)

_SENTINELS = 0.3
"""Part of all agents."""
_KEYED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Declared:
    """One agent as it stands in the jcard."""

    name: str
    kind: Kind
    enabled: bool = True
    version: int = 0
    """Part of its environment: another one is another launch."""
    delay: int = 500

    def table(self, marks: str) -> dict[str, object]:
        fields: dict[str, object] = {"grace_period": "5s", "secrets": [], **self.kind.fields}
        if "restart" in fields:
            fields["restart_delay"] = f"{self.delay}ms"
        return {
            "name": self.name,
            "command": ["sh", "-c", _MARK + self.kind.script, marks],
            "env": {"VERSION": str(self.version)},
            "enabled": self.enabled,
            **fields,
        }


class Population:
    """Everything that is declared, and the operator who cannot leave it alone."""

    def __init__(self, number: int, marks: str, chance: random.Random) -> None:
        self._marks = marks
        self._chance = chance
        self._number = number
        self._made = 0
        self.removed: set[str] = set()
        self.agents: dict[str, Declared] = {}
        for _ in range(int(number * _SENTINELS)):
            self._add(SENTINEL)
        while len(self.agents) < number:
            self._add()

    def _add(self, kind: Kind | None = None) -> Declared:
        if kind is None:
            keyed = self._chance.random() < _KEYED_SHARE
            kind = self._chance.choice([each for each in KINDS if (each.name == "keyed") == keyed])
        self._made += 1
        agent = Declared(f"{kind.name}-{self._made}", kind)
        self.agents[agent.name] = agent
        return agent

    def text(self) -> str:
        """The jcard."""
        return jcard(*(agent.table(self._marks) for agent in self.agents.values()))

    def edit(self) -> str:
        """Change something, as an operator would; say what."""
        changeable = [agent for agent in self.agents.values() if agent.kind is not SENTINEL]
        agent = self._chance.choice(changeable)
        what = self._chance.choice(["environment", "environment", "policy", "remove", "add", "disable", "several"])
        if what == "environment":
            self.agents[agent.name] = replace(agent, version=agent.version + 1)
        elif what == "policy":
            self.agents[agent.name] = replace(agent, delay=self._chance.randrange(300, 900))
        elif what == "disable":
            self.agents[agent.name] = replace(agent, enabled=not agent.enabled)
        elif what == "remove" or (what == "add" and len(self.agents) > self._number * 1.05):
            what = "remove"
            del self.agents[agent.name]
            self.removed.add(agent.name)
        elif what == "add":
            agent = self._add()
        else:
            for each in self._chance.sample(changeable, max(1, len(changeable) // 20)):
                self.agents[each.name] = replace(each, version=each.version + 1, enabled=True)
            return "5 % of all"
        if len(self.agents) < self._number * 0.95:
            self._add()
        return f"{what} {agent.name}"

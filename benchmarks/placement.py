"""What placing a fleet's agents costs, without a fleet: ``python -m benchmarks.placement [--agents N] [--rounds N]``.

The floor is a loop that only counts the agents on each host.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from agentd.fleet.placement import place
from agentd.fleet.plans import Host, Plan, Wish
from agentd.fleet.rebalancing import rebalance
from agentd.model.placement import Place, Spread

HOSTS = (4, 20, 200)


def replicas(number: int) -> list[Wish]:
    """Wishes as most are: tables of 500 replicas."""
    return [Wish(f"r{at // 500}-{at % 500}", Place(), f"r{at // 500}") for at in range(number)]


def mixed(number: int) -> list[Wish]:
    """Wishes of which no two are alike."""
    chance = random.Random(number)
    return [
        Wish(
            f"a{at}",
            Place(
                chance.choice([1, 1, 2]),
                chance.choice([0.0, 0.25, 1.0]),
                chance.randrange(4 * 1024**3),
                labels=chance.choice([(), (("zone", "a"),), (("zone", "b"),)]),
                spread=chance.choice([*Spread]),
            ),
            None if at % 3 else f"g{at // 300}",
        )
        for at in range(number)
    ]


def hosts(number: int, agents: int) -> list[Host]:
    """Hosts with room for all, and a fifth more."""
    share = 2 * agents * 12 // (10 * number) + 1
    memory = share * 2 * 1024**3
    return [Host(f"h{at:03}", share, share, memory, labels=(("zone", "ab"[at % 2]),)) for at in range(number)]


def count(wishes: Sequence[Wish], placed: Mapping[str, str]) -> dict[str, int]:
    """The floor."""
    found: dict[str, int] = {}
    for wish in sorted(wishes, key=lambda each: each.name):
        host = placed.get(wish.name, "")
        found[host] = found.get(host, 0) + wish.place.slots
    return found


def timed(rounds: int, ask: Callable[[], object]) -> float:
    """Give the median of milliseconds of CPU."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        ask()
        taken.append(1000 * (time.process_time() - begun))
    return median(taken)


def measure(wishes: list[Wish], there: list[Host], rounds: int) -> tuple[list[float], Plan]:
    """Place everything, look again, add one agent, lose a host, and offer moves to a new one."""
    plan = place(wishes, there, {})
    placed = plan.placed
    lost = [replace(there[0], alive=False), *there[1:]]
    more = [*there, replace(there[0], name="new")]
    asked: list[Callable[[], object]] = [
        lambda: place(wishes, there, {}),
        lambda: place(wishes, there, placed),
        lambda: place([*wishes, Wish("one more")], there, placed),
        lambda: place(wishes, lost, placed),
        lambda: rebalance(wishes, more, placed),
        lambda: count(wishes, placed),
    ]
    return [timed(rounds, each) for each in asked], plan


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=5000, help="agents to place (default: 5000)")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is done (default: 5)")
    options = parser.parse_args()
    print("| agents | hosts | all placed | looked again | one more | a host lost | moves to a new host | floor |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, make in (("replicas", replicas), ("all different", mixed)):
        for number in HOSTS:
            wishes = make(options.agents)
            taken, plan = measure(wishes, hosts(number, options.agents), options.rounds)
            pending = len(wishes) - len(plan.placed)
            name = f"{options.agents}, {kind}" + (f" ({pending} pending)" if pending else "")
            print(f"| {name} | {number} | {' | '.join(f'{each:.0f}' for each in taken)} |", flush=True)


if __name__ == "__main__":
    main()

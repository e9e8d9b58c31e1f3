"""The table ``[agents.place]``: where an agent may run in a fleet."""

from __future__ import annotations

import jsonschema
import pytest

from agentd.fleet.plans import Wish
from agentd.fleet.wishes import wishes_of
from agentd.jcard.schema import agent_schema
from agentd.model.placement import OnHostLoss, Place, Spread
from tests.jcard.loading import agent_of, error_of, load


def test_without_it_an_agent_takes_a_slot_anywhere() -> None:
    assert agent_of("").place == agent_of("place = {}").place == Place()


def test_every_field_is_read() -> None:
    written = """
        [agent.place]
        slots = 2
        cpus = 1.5
        memory = "2GiB"
        gpus = 0.5
        labels = { zone = "a", disk = "ssd" }
        host = "h1.example.com"
        spread = "pack"
        on_host_loss = "wait"
    """
    assert agent_of(written).place == Place(
        *(2, 1.5, 2 * 1024**3, 0.5, (("disk", "ssd"), ("zone", "a")), "h1.example.com", Spread.PACK, OnHostLoss.WAIT)
    )


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ('{ spread = "host" }', 'place.spread: found "host", expected one of "hosts", "pack"; did you mean "hosts"?'),
        ('{ on_host_loss = "no" }', 'place.on_host_loss: found "no", expected one of "reschedule", "wait"'),
        ("{ slot = 1 }", "place.slot: unknown key in the table place, expected slots, cpus, memory,"),
        ("{ slots = 0 }", "place.slots: found 0, expected at least 1"),
        ("{ slots = 10001 }", "place.slots: found 10001, expected at most 10000"),
        ('{ gpus = "1" }', 'place.gpus: found "1", expected a number of GPUs from 0 to 10000, such as 0.5'),
        ("{ gpus = nan }", "expected a number of GPUs"),
        ("{ cpus = -1 }", "place.cpus: found -1, expected a number of cores"),
        ('{ memory = "2G" }', 'place.memory: found "2G"'),
        ('{ labels = { zone = "a b" } }', 'place.labels.zone: found "a b", expected a label of 1 to 63 letters'),
        ('{ labels = { "" = "a" } }', 'found "", expected a label of 1 to 63 letters'),
        ('{ host = "h 1" }', 'place.host: found "h 1", expected the name of a host, as agentctl fleet hosts shows it'),
    ],
)
def test_what_is_wrong_is_an_error_at_its_place(written: str, error: str) -> None:
    assert error in error_of(f"place = {written}")


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({}, True),
        ({"slots": 2, "cpus": 0.5, "memory": "1GiB", "gpus": 1, "labels": {"zone": "a"}, "host": "h1"}, True),
        ({"spread": "pack", "on_host_loss": "wait"}, True),
        ({"labels": {"zone": "a b"}}, False),
        ({"slots": 0}, False),
        ({"slot": 1}, False),
        ({"host": "-"}, False),
    ],
)
def test_the_schema_agrees(value: object, good: bool) -> None:
    validator = jsonschema.Draft202012Validator(agent_schema())
    assert validator.is_valid({"harness": "codex", "place": value}) is good


def test_a_fleet_is_asked_for_each_replica_and_not_for_what_is_disabled() -> None:
    loaded = load(
        """
        [[agents]]
        name = "r"
        harness = "codex"
        replicas = 2
        priority = 3
        place.slots = 2

        [[agents]]
        name = "off"
        harness = "codex"
        enabled = false

        [[agents]]
        name = "one"
        harness = "codex"
        """
    )
    assert wishes_of(loaded.agents, loaded.tables) == (
        Wish("r-0", Place(slots=2), "r-0", 3),
        Wish("r-1", Place(slots=2), "r-0", 3),
        Wish("one"),
    )

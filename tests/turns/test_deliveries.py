"""Queues of messages to agents, as far as they need no agent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.turns.messages.deliveries import Deliveries
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.store import Store


class SlowStore(Store):
    """A disk that keeps a message only once it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.may = threading.Event(), threading.Event()

    def put(self, message: Message) -> None:
        self.asked.set()
        assert self.may.wait(20)
        super().put(message)


@pytest.fixture
def store(tmp_path: Path) -> SlowStore:
    return SlowStore(tmp_path / "messages.db")


@pytest.fixture
async def told(store: SlowStore) -> AsyncIterator[tuple[Deliveries, list[Message]]]:
    changes: list[Message] = []
    deliveries = Deliveries(store, lambda: 1.0, changes.append)
    await deliveries.open()
    yield deliveries, changes
    await deliveries.close()


async def test_a_message_waits_for_its_agent_though_its_sender_left_while_it_was_kept(
    store: SlowStore, told: tuple[Deliveries, list[Message]]
) -> None:
    deliveries, changes = told
    sending = asyncio.create_task(deliveries.accept("a", "one", "hello", None))
    await asyncio.to_thread(store.asked.wait, 20)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    store.may.set()
    # What comes later waits for what is being kept.
    await asyncio.wait_for(deliveries.accept("a", "two", "hello", None), 20)
    assert [(message.id, message.status) for message in changes] == [("one", Status.QUEUED), ("two", Status.QUEUED)]
    assert (await deliveries.withdraw("a", "one")).status is Status.WITHDRAWN, "it waits in a queue"

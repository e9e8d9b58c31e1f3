"""A channel by Kafka: a consumer in the group of the user and agent, and a producer.

An offset is committed once its message is stored, so a message is given again until that has happened, and the store
takes it once. Who loses a partition while a message is being stored leaves that to the partition's next owner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, NoReturn

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.structs import RecordMetadata

from agentd.gateway.channels.link import DEADLINE, Delay, Handler, Incoming, LaterError, LinkError, OversizedError
from agentd.gateway.channels.tls import context_of
from agentd.gateway.model.channels import LARGEST, Answer
from agentd.model.channels import ChannelDeclaration, KafkaLink, Mechanism

# It tells each retry; what lasts is told by the channel.
_LIBRARY: Final = logging.getLogger("aiokafka")
_LIBRARY.propagate = False

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)
"""What the library logs while it connects: its error says that it did not, but not why."""


class _Hearing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None:
            heard.append(record.getMessage())


_LIBRARY.handlers = [_Hearing(logging.ERROR)]

_LOOK: Final = 1.0
"""Seconds without a message after which is looked whether the broker is there."""

_AT_ONCE: Final = 100
"""Messages that are fetched at once."""

_HEARTBEATS: Final = 3
"""In the time after which a member of the group is taken for gone."""

_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

_REFUSED: Final = "the broker refused the user or the password"

_STOP: Final = 3.0
"""Seconds for hanging up."""


class _Kafka:
    def __init__(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, topic: str) -> None:
        self._consumer = consumer
        self._producer = producer
        self._topic = topic
        self._turn = asyncio.Lock()
        """Held while a message is stored and its offset committed: a partition is not given away meanwhile."""
        self._assigned = 0
        """How often partitions were given out."""

    async def revoke(self) -> None:
        """Let what is being stored be committed; what is fetched and not stored is given to the next owner."""
        async with self._turn:
            self._assigned += 1

    async def consume(self, handler: Handler) -> NoReturn:
        """Give messages to a handler."""
        while True:
            try:
                fetched = await self._consumer.getmany(timeout_ms=int(_LOOK * 1000), max_records=_AT_ONCE)
                if not fetched:
                    await self._look()
                assigned = self._assigned
                for partition, records in fetched.items():
                    if not await self._take(partition, records, handler, assigned):
                        break
            except KafkaError as error:
                raise LinkError(_text(error)) from error

    async def _look(self) -> None:
        if not await asyncio.wait_for(self._producer.client.force_metadata_update(), DEADLINE):
            raise LinkError("no broker answers")

    async def _take(
        self, partition: TopicPartition, records: Sequence[ConsumerRecord], handler: Handler, assigned: int
    ) -> bool:
        """Take what was fetched of a partition; says whether it is still ours."""
        skipped = None
        for record in records:
            delay = Delay()
            while True:
                async with self._turn:
                    if assigned != self._assigned:
                        return False
                    try:
                        stored = await handler.take(_incoming(record))
                        if stored:
                            await self._commit(partition, record, handler)
                        skipped = None if stored else record.offset
                        break
                    except LaterError:
                        pass
                await asyncio.sleep(delay.next())
        if skipped is not None:
            async with self._turn:
                if assigned == self._assigned:
                    await self._commit_to(partition, skipped + 1)
        return True

    async def _commit_to(self, partition: TopicPartition, offset: int) -> None:
        try:
            # The library goes on for as long as the broker is away, and the channel would count as open.
            async with asyncio.timeout(DEADLINE):
                await self._consumer.commit({partition: offset})
        except TimeoutError as error:
            raise LinkError("no broker notes what was read") from error

    async def _commit(self, partition: TopicPartition, record: ConsumerRecord, handler: Handler) -> None:
        try:
            await self._commit_to(partition, record.offset + 1)
        except (CommitFailedError, IllegalStateError) as error:
            # This gateway was taken for gone: the message is given to another one, or to this one again.
            await handler.give_up(_incoming(record))
            raise LinkError(f"the partition {partition.partition} was given to another gateway") from error

    async def send(self, answers: Sequence[Answer]) -> None:
        """Write answers."""
        await self._write(
            self._topic, [(answer.encoded(), answer.key.encode("utf-8", "replace")) for answer in answers]
        )

    async def say(self, data: bytes) -> str | None:
        """Write a message."""
        (written,) = await self._write(self._topic, [(data, None)])
        return written

    async def bury(self, data: bytes) -> None:
        """Put a bad message aside."""
        await self._write(f"{self._topic}.dead", [(data, None)])

    async def _write(self, topic: str, messages: Sequence[tuple[bytes, bytes | None]]) -> list[str]:
        begun: list[Awaitable[RecordMetadata]] = []
        oversized = None
        try:
            async with asyncio.timeout(DEADLINE):
                try:
                    for value, key in messages:
                        begun.append(await self._producer.send(topic, value, key=key))
                except MessageSizeTooLargeError as error:
                    oversized = OversizedError(_text(error), len(begun))
                written = await asyncio.gather(*begun, return_exceptions=True)
        except (KafkaError, TimeoutError) as error:
            raise LinkError(_text(error)) from error
        done: list[RecordMetadata] = []
        for each in written:
            if isinstance(each, _TOO_LARGE):
                raise OversizedError(_text(each), len(done))
            if isinstance(each, KafkaError | asyncio.CancelledError):
                # The library cancels what is under way when its connection ends.
                raise LinkError(_text(each)) from each
            if isinstance(each, BaseException):
                raise each
            done.append(each)
        if oversized is not None:
            raise oversized
        return [f"{each.topic}/{each.partition}/{each.offset}" for each in done]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Tells a link that its partitions are given out again."""

    def __init__(self, link: _Kafka) -> None:
        self._link = link

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Finish what is under way."""
        if revoked:
            await self._link.revoke()

    async def on_partitions_assigned(self, assigned: object) -> None:
        """Nothing to do: reading begins where the group has come to."""


@asynccontextmanager
async def open_kafka(declared: ChannelDeclaration, link: KafkaLink, password: str | None) -> AsyncIterator[_Kafka]:
    """Connect to Kafka, and join the group.

    Raises
    ------
    LinkError
        If that does not work now.
    """
    options = await _options(link, password)
    heard: list[str] = []
    _heard.set(heard)
    timeout = int(link.session_timeout * 1000)
    try:
        producer = AIOKafkaProducer(**options, acks="all", max_request_size=LARGEST + 65536)
        consumer = AIOKafkaConsumer(
            **options,
            group_id=declared.group,
            # What is sent before a channel's first start is for it, too.
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=timeout,
            heartbeat_interval_ms=timeout // _HEARTBEATS,
            max_partition_fetch_bytes=LARGEST + 65536,
        )
        opened = _Kafka(consumer, producer, declared.where)
        consumer.subscribe([declared.where], listener=_Listener(opened))
    except (KafkaError, ValueError) as error:
        raise LinkError(_text(error)) from error
    try:
        try:
            async with asyncio.timeout(DEADLINE):
                await producer.start()
                # A broker that makes topics by itself makes it now.
                await producer.partitions_for(declared.where)
            async with asyncio.timeout(DEADLINE + 2 * link.session_timeout):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise LinkError(_why(heard) or _text(error)) from error
        except KeyError as error:
            # How the library says that SCRAM ended without the broker's signature.
            raise LinkError(_REFUSED) from error
        yield opened
    finally:
        await _stop(consumer, producer)


async def _stop(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    # Each in a task of its own: where the broker is gone they hang, or end as cancelled.
    tasks = [asyncio.create_task(each.stop(), name="kafka stop") for each in (consumer, producer)]
    done, hung = await asyncio.wait(tasks, timeout=_STOP)
    for task in hung:
        task.cancel()
    if hung:
        await asyncio.wait(hung, timeout=_STOP)
    for task in done:
        if not task.cancelled():
            # Of no interest: it is over.
            task.exception()


async def _options(link: KafkaLink, password: str | None) -> Mapping[str, object]:
    options: dict[str, object] = {
        "bootstrap_servers": list(link.bootstrap_servers),
        "client_id": "agentd-gateway",
        "request_timeout_ms": int(DEADLINE * 1000),
        "security_protocol": f"{'SASL_' if link.mechanism else ''}{'SSL' if link.tls else 'PLAINTEXT'}",
    }
    if link.tls is not None:
        options["ssl_context"] = await asyncio.to_thread(context_of, link.tls)
    if link.mechanism is not None:
        options["sasl_mechanism"] = link.mechanism.value
    if link.mechanism is Mechanism.OAUTHBEARER:
        from agentd.gateway.channels.msk import MskTokens  # noqa: PLC0415 (of an extra)

        options["sasl_oauth_token_provider"] = MskTokens(link.region or "")
    elif link.mechanism is not None:
        options |= {"sasl_plain_username": link.username, "sasl_plain_password": password}
    return options


def _incoming(record: ConsumerRecord) -> Incoming:
    name = f"{record.topic}/{record.partition}/{record.offset}"
    # Where a topic was made anew, its offsets begin at 0 again.
    return Incoming(f"{name}/{record.timestamp}", name, record.value or b"")


def _why(heard: Sequence[str]) -> str | None:
    """Say why there is no connection, if the library has told."""
    told = [each for each in heard if each.strip().rpartition(":")[2]]
    if any("SaslAuthenticationFailed" in each for each in told):
        return _REFUSED
    return told[-1] if told else None


def _text(error: BaseException) -> str:
    return str(error) or ("no broker answers in time" if isinstance(error, TimeoutError) else type(error).__name__)

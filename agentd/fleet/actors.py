"""The two actors, as Ray runs them: the Controller, and a Node on each host. Nothing is decided here.

Only this file and `agentd.fleet.starting` import Ray, which is there on hosts of a fleet alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar, cast

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agentd.api.socket_file import ApiSocket
from agentd.fleet.controller import Controller
from agentd.fleet.definitions import JcardError
from agentd.fleet.errors import HostAnswersError, HostTakenError, NoAnswerError, UnknownHostError
from agentd.fleet.folder import OWNER, FleetFolder, FolderTakenError
from agentd.fleet.front import Front
from agentd.fleet.ledger import HostRecord, LedgerError
from agentd.fleet.messages import HostReport, Orders, instance_of, new_token
from agentd.fleet.node import Node
from agentd.fleet.open_answers import OpenAnswers
from agentd.fleet.passing import Asked, Told, pass_on
from agentd.fleet.protocol import FleetView, HostView, JcardBody, PlacedView, PlanView
from agentd.fleet.ray_node import NAMESPACE
from agentd.fleet.refusals import FleetError
from agentd.fleet.serving import serve

CONTROLLER: Final = "controller"
"""The Controller's name, in Ray."""

_PATIENCE: Final = 10.0
"""Seconds for a call to the Controller or to another host."""

_CLIENTS_PATIENCE: Final = 3.5
"""Seconds for one that agentctl waits for: it takes five for nobody there."""

_AT_ONCE: Final = 100
"""Calls of a Node at once: each answer that goes on is one."""

T = TypeVar("T")


def node_name(host: str) -> str:
    """Give a Node's name, in Ray."""
    return f"node:{host}"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a Node has to know."""

    record: HostRecord
    drop_ins: Path
    api_socket: Path
    turns_socket: Path
    fleet_socket: Path


class ControllerActor(Controller):
    """The Controller; `Controller` has its methods."""

    def __init__(self, ledger: Path, lease: float, host: str, address: str | None) -> None:
        _again(lambda: Controller.__init__(self, ledger, lease, host, address), LedgerError)


class NodeActor:
    """A host's Node, with the socket that agentctl asks; both live in a loop of their own."""

    def __init__(self, options: NodeOptions) -> None:
        folder = _again(lambda: FleetFolder(options.drop_ins / OWNER), FolderTakenError)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._api_socket = options.api_socket
        self._stack = contextlib.AsyncExitStack()
        self._answers = OpenAnswers()
        self._node = self._in_loop(self._begin(options, folder))
        self._task: asyncio.Task[None] = self._in_loop(_task(self._node.run()))

    async def _begin(self, options: NodeOptions, folder: FleetFolder) -> Node:
        front = Front(_RayBackend(), time.monotonic())
        # A former process of this actor is gone, or about to be.
        options.fleet_socket.unlink(missing_ok=True)
        group = options.api_socket.stat().st_gid if options.api_socket.exists() else None
        served = ApiSocket(options.fleet_socket, group, lambda bound: serve(front.app(), bound))
        await self._stack.enter_async_context(served.answering())
        return Node(options.record, folder, options.api_socket, _ask)

    def _in_loop(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def pid(self) -> int:
        """Give the process id: an answer says that it has begun."""
        return os.getpid()

    def wake(self) -> None:
        """Ask the Controller soon."""
        self._loop.call_soon_threadsafe(self._node.wake)

    def open(self, asked: Asked) -> str:
        """Have this host's agentd answer; the key is for `read` and `drop`."""
        return self._in_loop(self._answers.open(pass_on(self._api_socket, asked)))

    def read(self, key: str) -> list[Told | None]:
        """Give the next pieces of an answer, none if there are none for a moment; ``None`` is its end."""
        return self._in_loop(self._answers.read(key))

    def drop(self, key: str) -> None:
        """End an answer that nobody reads any more."""
        self._loop.call_soon_threadsafe(self._answers.drop, key)


async def _task(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


def _again(make: Callable[[], T], error: type[Exception]) -> T:
    """Make something that a former process of this actor may hold for a moment longer."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return make()
        except error:
            if time.monotonic() >= end:
                raise
        threading.Event().wait(0.2)


def _called(actor: str, method: str, *arguments: object, **named: object) -> object:
    """Call an actor, and wait; in a thread."""
    with _told_as_ours():
        return ray.get(_sent(actor, method, *arguments, **named), timeout=_PATIENCE)


def _sent(actor: str, method: str, *arguments: object, **named: object) -> ray.ObjectRef[object]:
    """Call an actor; in a thread, since the call itself may take a moment."""
    found: ray.ObjectRef[object] = getattr(ray.get_actor(actor, namespace=NAMESPACE), method).remote(
        *arguments, **named
    )
    return found


@contextlib.contextmanager
def _told_as_ours() -> Iterator[None]:
    """Raise what Ray raises as what it means here."""
    try:
        yield
    except (RayError, ValueError) as error:
        # What the actor raised speaks for itself.
        cause = getattr(error, "cause", None)
        if isinstance(cause, NoAnswerError | UnknownHostError | HostAnswersError | JcardError | LedgerError):
            raise cause from None
        reason = str(error).strip().splitlines()
        raise NoAnswerError(f"{type(error).__name__}: {reason[0] if reason else ''}") from error


async def _ask(report: HostReport) -> Orders | None:
    orders = await asyncio.to_thread(_called, CONTROLLER, "hear", report)
    assert orders is None or isinstance(orders, Orders)
    return orders


_REFUSALS: Final = {
    NoAnswerError: (HTTPStatus.SERVICE_UNAVAILABLE, "the fleet's Controller does not answer: "),
    UnknownHostError: (HTTPStatus.NOT_FOUND, ""),
    HostAnswersError: (HTTPStatus.CONFLICT, ""),
    JcardError: (HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    LedgerError: (HTTPStatus.INTERNAL_SERVER_ERROR, ""),
}
"""Status of the answer, and what its text begins with."""


class _RayBackend:
    """The Controller and the hosts, as the socket asks them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, "fleet-call")

    async def fleet(self) -> FleetView:
        return cast("FleetView", await self._controller("fleet"))

    async def hosts(self) -> Sequence[HostView]:
        return cast("list[HostView]", await self._controller("hosts"))

    async def placed(self) -> Sequence[PlacedView]:
        return cast("list[PlacedView]", await self._controller("agents"))

    async def plan(self, body: JcardBody) -> PlanView:
        return cast("PlanView", await self._controller("plan", body.jcard, body.path))

    async def apply(self, body: JcardBody) -> PlanView:
        return await self._changed("apply", body.jcard, body.path)

    async def drain(self, host: str, *, draining: bool) -> PlanView:
        return await self._changed("drain", host, draining=draining)

    async def forget(self, host: str) -> PlanView:
        return await self._changed("forget", host)

    async def rebalance(self, *, dry_run: bool) -> PlanView:
        return await self._changed("rebalance", dry_run=dry_run)

    async def _changed(self, method: str, *arguments: object, **named: object) -> PlanView:
        plan = await self._controller(method, *arguments, **named)
        with contextlib.suppress(NoAnswerError):
            await asyncio.to_thread(_wake_all)
        return cast("PlanView", plan)

    async def _controller(self, method: str, *arguments: object, **named: object) -> object:
        try:
            async with asyncio.timeout(_CLIENTS_PATIENCE):
                return await self._call(CONTROLLER, method, *arguments, **named)
        except TimeoutError:
            status, begins = _REFUSALS[NoAnswerError]
            raise FleetError(status, f"{begins}it takes too long") from None
        except (NoAnswerError, UnknownHostError, HostAnswersError, JcardError, LedgerError) as error:
            status, begins = _REFUSALS[type(error)]
            raise FleetError(status, f"{begins}{error}") from error

    async def forward(self, host: str, asked: Asked) -> AsyncGenerator[Told, None]:
        node = node_name(host)
        try:
            key = await self._call(node, "open", asked)
            try:
                while True:
                    for part in cast("list[Told | None]", await self._call(node, "read", key)):
                        if part is None:
                            return
                        yield part
            finally:
                await self._call(node, "drop", key)
        except NoAnswerError as error:
            raise FleetError(HTTPStatus.CONFLICT, f"{host} does not answer: {error}") from error

    async def _call(self, actor: str, method: str, *arguments: object, **named: object) -> object:
        """Call in a thread of the socket's own: those who ask much must not hold up the leases.

        None is held while the answer is waited for: somebody who follows a fleet waits for all of its hosts.
        """
        call = partial(_sent, actor, method, *arguments, **named)
        with _told_as_ours():
            sent = await asyncio.get_running_loop().run_in_executor(self._threads, call)
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await asyncio.wrap_future(sent.future())
            except TimeoutError:
                raise NoAnswerError(f"no answer within {_PATIENCE:g} s") from None


def _wake_all() -> None:
    hosts = _called(CONTROLLER, "addresses")
    for host, alive in hosts.items() if isinstance(hosts, dict) else ():
        if alive:
            with contextlib.suppress(ValueError):
                ray.get_actor(node_name(host), namespace=NAMESPACE).wake.remote()


def start_controller(ledger: Path, lease: float, host: HostRecord) -> None:
    """Have the Controller on this node of Ray, unless it is there."""
    here = ray.get_runtime_context().get_node_id()
    options = {
        "name": CONTROLLER, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "max_restarts": -1,
        "num_cpus": 0, "max_concurrency": 8, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }  # fmt: skip
    actor = ray.remote(ControllerActor).options(**options).remote(ledger, lease, host.name, host.address)
    ray.get(actor.fleet.remote())


def stop(host: str, *, controller: bool) -> None:
    """End this host's Node, and the Controller if it is here, on a node of Ray that goes on."""
    for name in (node_name(host), *((CONTROLLER,) if controller else ())):
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)


def check_name(options: NodeOptions) -> None:
    """Check that this host may have its name, once the Controller answers.

    Raises
    ------
    HostTakenError
        If another host has it.
    """
    token = new_token(instance_of(options.record.address, options.drop_ins / OWNER))
    while True:
        try:
            _called(CONTROLLER, "check_name", options.record, token)
        except HostTakenError:
            raise
        except NoAnswerError:
            threading.Event().wait(0.5)
        except AttributeError:
            # An older Controller's, before this host's upgrade.
            return
        else:
            return


def start_node(options: NodeOptions) -> int:
    """Have this host's Node on this node of Ray, instead of one that a former node of Ray had; returns its pid.

    Raises
    ------
    HostTakenError
        As `check_name`.
    """
    check_name(options)
    here = ray.get_runtime_context().get_node_id()
    name = node_name(options.record.name)
    with contextlib.suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
    made = {
        "name": name, "namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1, "num_cpus": 0,
        "max_concurrency": _AT_ONCE, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }  # fmt: skip
    actor = ray.remote(NodeActor).options(**made).remote(options)
    return int(ray.get(actor.pid.remote()))

"""The two actors, as Ray runs them: the Controller, and a Node on each host. Nothing is decided here.

Only this file and `agentd.fleet.starting` import Ray, which is there on hosts of a fleet alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agentd.fleet.controller import Controller
from agentd.fleet.definitions import JcardError
from agentd.fleet.errors import NoAnswerError, UnknownHostError
from agentd.fleet.folder import OWNER, FleetFolder, FolderTakenError
from agentd.fleet.ledger import HostRecord, LedgerError
from agentd.fleet.local_api import LocalApi, Query, Reply
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.node import Node
from agentd.fleet.ray_node import NAMESPACE

CONTROLLER: Final = "controller"
"""The Controller's name, in Ray."""

_PATIENCE: Final = 10.0
"""Seconds for a call to the Controller or to another host."""
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

    def __init__(self, ledger: Path, lease: float, host: str) -> None:
        _again(lambda: Controller.__init__(self, ledger, lease, host), LedgerError)


class NodeActor:
    """A host's Node, with the socket that agentctl asks; both live in a loop of their own."""

    def __init__(self, options: NodeOptions) -> None:
        folder = _again(lambda: FleetFolder(options.drop_ins / OWNER), FolderTakenError)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._api = LocalApi(options.api_socket, options.turns_socket, _RayRemote())
        self._node = self._in_loop(self._begin(options, folder))
        self._task: asyncio.Task[None] = self._in_loop(_task(self._node.run()))

    async def _begin(self, options: NodeOptions, folder: FleetFolder) -> Node:
        await self._api.serve(options.fleet_socket)
        return Node(options.record, folder, options.api_socket, _ask)

    def _in_loop(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def pid(self) -> int:
        """Give the process id: an answer says that it has begun."""
        return os.getpid()

    def wake(self) -> None:
        """Ask the Controller soon."""
        self._loop.call_soon_threadsafe(self._node.wake)

    def fetch(self, method: str, path: str, query: Query, body: bytes) -> Reply:
        """Ask this host's agentd."""
        return self._in_loop(self._api.fetch(method, path, query, body))


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
    try:
        handle = ray.get_actor(actor, namespace=NAMESPACE)
        return ray.get(getattr(handle, method).remote(*arguments, **named), timeout=_PATIENCE)
    except (RayError, ValueError) as error:
        # What the actor raised speaks for itself.
        cause = getattr(error, "cause", None)
        if isinstance(cause, NoAnswerError | UnknownHostError | JcardError | LedgerError):
            raise cause from None
        reason = str(error).strip().splitlines()
        raise NoAnswerError(f"{type(error).__name__}: {reason[0] if reason else ''}") from error


async def _ask(report: HostReport) -> Orders | None:
    orders = await asyncio.to_thread(_called, CONTROLLER, "hear", report)
    assert orders is None or isinstance(orders, Orders)
    return orders


class _RayRemote:
    async def controller(self, method: str, *arguments: object, **named: object) -> object:
        answer = await asyncio.to_thread(_called, CONTROLLER, method, *arguments, **named)
        if named or method == "apply":
            await asyncio.to_thread(_wake_all)
        return answer

    async def host(self, host: str, method: str, path: str, query: Query, body: bytes) -> Reply:
        reply = await asyncio.to_thread(_called, node_name(host), "fetch", method, path, query, body)
        assert isinstance(reply, Reply)
        return reply


def _wake_all() -> None:
    hosts = _called(CONTROLLER, "addresses")
    for host, alive in hosts.items() if isinstance(hosts, dict) else ():
        if alive:
            with contextlib.suppress(ValueError):
                ray.get_actor(node_name(host), namespace=NAMESPACE).wake.remote()


def start_controller(ledger: Path, lease: float, host: str) -> None:
    """Have the Controller on this node of Ray, unless it is there."""
    here = ray.get_runtime_context().get_node_id()
    options = {
        "name": CONTROLLER, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "max_restarts": -1,
        "num_cpus": 0, "max_concurrency": 8, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }  # fmt: skip
    actor = ray.remote(ControllerActor).options(**options).remote(ledger, lease, host)
    ray.get(actor.fleet.remote())


def start_node(options: NodeOptions) -> int:
    """Have this host's Node on this node of Ray, instead of one that a former node of Ray had; returns its pid."""
    here = ray.get_runtime_context().get_node_id()
    name = node_name(options.record.name)
    with contextlib.suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
    made = {
        "name": name, "namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1, "num_cpus": 0,
        "max_concurrency": 32, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }  # fmt: skip
    actor = ray.remote(NodeActor).options(**made).remote(options)
    return int(ray.get(actor.pid.remote()))

"""agentd-fleet's socket: the protocol over two agentds, with the hosts in this process."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from agentd.api.socket_file import ApiSocket
from agentd.fleet.front import Front
from agentd.fleet.passing import Asked, Head, Told, pass_on
from agentd.fleet.protocol import FleetView, HostState, HostView, JcardBody, PlacedView, Placement, PlanView
from agentd.fleet.refusals import FleetError
from agentd.fleet.serving import serve
from agentd.model.events import Event, EventKind
from agentd.settings.sockets import turns_socket
from tests.cli.support import RUNNING, Client, Finished, MemorySource, answering
from tests.support.fleet_stand_in import FLEET, HOST, PLAN
from tests.support.waiting import until


class Backend:
    """Hosts whose agentds are on sockets of this machine."""

    def __init__(self, sockets: dict[str, Path]) -> None:
        self.sockets = sockets
        self.views = [replace(HOST, name=name) for name in sorted(sockets)]
        self.agents: list[PlacedView] = []
        self.asked: list[object] = []
        self.refusal: FleetError | None = None
        self.silent: set[str] = set()
        self.under_way = 0
        self.listed = 0
        """How often somebody asked for the hosts."""

    async def fleet(self) -> FleetView:
        return FLEET

    async def hosts(self) -> Sequence[HostView]:
        self.listed += 1
        return self.views

    async def placed(self) -> Sequence[PlacedView]:
        return self.agents

    async def _planned(self, *asked: object) -> PlanView:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(asked)
        return PLAN

    async def plan(self, body: JcardBody) -> PlanView:
        return await self._planned("plan", body)

    async def apply(self, body: JcardBody) -> PlanView:
        return await self._planned("apply", body)

    async def drain(self, host: str, *, draining: bool) -> PlanView:
        return await self._planned("drain", host, draining)

    async def forget(self, host: str) -> PlanView:
        return await self._planned("forget", host)

    async def rebalance(self, *, dry_run: bool) -> PlanView:
        return await self._planned("rebalance", dry_run)

    async def forward(self, host: str, asked: Asked) -> AsyncGenerator[Told, None]:
        # As a host gets it.
        asked = pickle.loads(pickle.dumps(asked))  # noqa: S301 (our own)
        self.under_way += 1
        try:
            if host in self.silent:
                await asyncio.Event().wait()
            async for part in pass_on(self.sockets[host], asked):
                yield part
        finally:
            self.under_way -= 1


@asynccontextmanager
async def fronting(backend: Backend, path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the front, and give a client of it."""
    front = Front(backend, time.monotonic())
    async with (
        ApiSocket(path, None, lambda bound: serve(front.app(), bound)).answering(),
        aiohttp.ClientSession("http://fleet", connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        yield session


@pytest.fixture
def socket(short_folder: Path) -> Path:
    return short_folder / "agentd.sock.fleet"


@pytest.fixture
def backend(short_folder: Path) -> Backend:
    for name in ("h1", "h2"):
        (short_folder / name).mkdir()
    return Backend({name: short_folder / name / "agentd.sock" for name in ("h1", "h2")})


def of(name: str, host: str | None, placement: Placement = Placement.PLACED, previous: str | None = None) -> PlacedView:
    return PlacedView(name, placement, host, previous, "")


async def test_the_fleet_is_shown(backend: Backend, socket: Path) -> None:
    backend.agents = [of("a", "h1")]
    async with fronting(backend, socket) as client:
        shown = [await (await client.get(f"/v1/fleet{path}")).json() for path in ("", "/hosts", "/agents")]
    assert shown[0]["revision"] == FLEET.revision
    assert [host["name"] for host in shown[1]] == ["h1", "h2"]
    assert shown[2] == [{"name": "a", "placement": "placed", "host": "h1", "previous": None, "reason": ""}]


async def test_what_is_posted_reaches_the_controller(backend: Backend, socket: Path) -> None:
    body = JcardBody("[agent]\n", "j.toml")
    async with fronting(backend, socket) as client:
        for path, sent, asked in (
            ("plan", {"jcard": body.jcard, "path": body.path}, ("plan", body)),
            ("apply", {"jcard": body.jcard, "path": body.path}, ("apply", body)),
            ("drain", {"host": "h1"}, ("drain", "h1", True)),
            ("uncordon", {"host": "h1"}, ("drain", "h1", False)),
            ("forget", {"host": "h1"}, ("forget", "h1")),
            ("rebalance", {"dry_run": True}, ("rebalance", True)),
        ):
            answer = await (await client.post(f"/v1/fleet/{path}", json=sent)).json()
            assert len(answer["assignments"]) == len(PLAN.assignments)
            assert backend.asked.pop() == asked
        backend.refusal = FleetError(HTTPStatus.UNPROCESSABLE_ENTITY, "one\ntwo")
        refused = await client.post("/v1/fleet/apply", json={"jcard": "", "path": ""})
        assert (refused.status, await refused.json()) == (422, {"error": "one\ntwo"})


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("apply", "{", "expected a JSON object"),
        ("apply", "{}", "expected jcard and path, strings"),
        ("drain", '{"host": 1}', "expected host, a string"),
        ("rebalance", "{}", "expected dry_run, true or false"),
        ("nothing", "{}", "not found"),
    ],
)
async def test_what_is_no_request_is_refused(backend: Backend, socket: Path, path: str, body: str, error: str) -> None:
    async with fronting(backend, socket) as client:
        answer = await client.post(f"/v1/fleet/{path}", data=body)
        assert answer.status in (400, 404)
        assert await answer.json() == {"error": error}
        wrong = await client.get("/v1/fleet/apply")
        assert (wrong.status, await wrong.json()) == (405, {"error": "method not allowed"})


async def test_agents_and_events_of_all_hosts_name_their_host(backend: Backend, socket: Path) -> None:
    one, two = MemorySource([replace(RUNNING, name="b")]), MemorySource([replace(RUNNING, name="a")])
    with answering(one, backend.sockets["h1"]) as tell, answering(two, backend.sockets["h2"]) as tell_two:
        async with fronting(backend, socket) as client:

            async def events(query: str = "") -> list[dict[str, object]]:
                found: list[dict[str, object]] = await (await client.get(f"/v1/events{query}")).json()
                return found

            for number, told in enumerate((tell, tell_two, tell)):
                told(Event(EventKind.EXITED, "ba"[number % 2], f"{number}", {}))
                async with asyncio.timeout(20):
                    while len(await events()) <= number:  # noqa: ASYNC110 (events of another thread)
                        await asyncio.sleep(0.01)
            assert [(each["host"], each["reason"]) for each in await events("?tail=2")] == [("h2", "1"), ("h1", "2")]
            agents = await (await client.get("/v1/agents")).json()
            assert [(each["name"], each["host"]) for each in agents] == [("a", "h2"), ("b", "h1")]
            assert (await client.get("/v1/events", headers={"Accept": "text/event-stream"})).status == 501
            assert (await client.get("/v1/events?tail=x")).status == 400
            backend.agents = [of("b", "h1")]
            assert [each["reason"] for each in await events("?agent=b")] == ["0", "2"]
            health = await (await client.get("/v1/health")).json()
            assert health["agents"] == {"total": FLEET.agents, "running": 2, "failed": 0}
            # Without the one that does not answer, and without one that is lost.
            backend.views[0] = replace(backend.views[0], state=HostState.LOST)
            assert [each["host"] for each in await (await client.get("/v1/agents")).json()] == ["h2"]
    async with fronting(backend, socket) as client:
        assert await (await client.get("/v1/agents")).json() == []


async def test_what_is_asked_of_an_agent_goes_to_its_host(backend: Backend, socket: Path) -> None:
    backend.agents = [of("A", "h2", Placement.MOVING, "h1"), of("gone", None, Placement.PENDING)]
    with answering(MemorySource([replace(RUNNING, name="A")]), backend.sockets["h1"]):
        async with fronting(backend, socket) as client:
            shown = await (await client.get("/v1/agents/a")).json()
            assert (shown["name"], shown["host"]) == ("A", "h1")
            assert (await client.get("/v1/agents/A/runs")).status == 200
            missing = await client.get("/v1/agents/gone")
            assert (missing.status, await missing.json()) == (404, {"error": "agent not found"})
            silent = await client.post("/v1/turns/A/messages", json={})
            assert silent.status == 409
            where = turns_socket(backend.sockets["h1"])
            assert (await silent.json())["error"].startswith(f"its agentd does not answer at {where}: ")


async def test_a_client_that_hangs_up_ends_what_goes_on(backend: Backend, socket: Path) -> None:
    backend.agents = [of("A", "h1")]
    with answering(MemorySource([replace(RUNNING, name="A")]), backend.sockets["h1"]) as tell:
        async with fronting(backend, socket) as client:
            following = await client.get("/v1/events?agent=A&follow=1", headers={"Accept": "text/event-stream"})
            tell(Event(EventKind.EXITED, "A", "told", {}))
            async with asyncio.timeout(20):
                while b"told" not in await following.content.readany():
                    pass
            assert backend.under_way == 1
            following.close()
            tell(Event(EventKind.EXITED, "A", "again", {}))
            await until(lambda: not backend.under_way)


async def test_a_client_that_hangs_up_in_an_answer_is_nothing_to_log(
    backend: Backend, socket: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def without_end(_host: str, _asked: Asked) -> AsyncGenerator[Told, None]:
        backend.under_way += 1
        try:
            yield Head(HTTPStatus.OK, {})
            while True:
                yield bytes(1 << 16)
                await asyncio.sleep(0)
        finally:
            backend.under_way -= 1

    monkeypatch.setattr(backend, "forward", without_end)
    backend.agents = [of("A", "h1")]
    async with fronting(backend, socket) as client:
        answer = await client.get("/v1/agents/A/log")
        await answer.content.readany()
        answer.close()
        await until(lambda: not backend.under_way)
    assert [each.getMessage() for each in caplog.records if each.name == "aiohttp.server"] == []


async def test_a_host_that_is_silent_is_not_waited_for(
    backend: Backend, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.fleet.front._ANSWER_WITHIN", 0.05)
    backend.agents = [of("A", "h1")]
    backend.silent = {"h1", "h2"}
    async with fronting(backend, socket) as client:
        assert await (await client.get("/v1/agents")).json() == []
        answer = await client.get("/v1/agents/A")
        assert (answer.status, await answer.json()) == (409, {"error": "h1 does not answer"})
    assert backend.under_way == 0


async def test_agentctl_is_content_with_it(backend: Backend, short_folder: Path) -> None:
    client = Client(short_folder)
    backend.agents = [of("A", "h1"), of("later", None, Placement.PENDING)]
    with answering(MemorySource([replace(RUNNING, name="A")]), backend.sockets["h1"]):
        async with fronting(backend, short_folder / "api.sock.fleet"):

            async def run(*words: str) -> Finished:
                return await asyncio.to_thread(client, *words)

            shown = await run("status", "--fleet")
            assert [(row[0], row[1], row[-1]) for row in shown.rows] == [
                ("A", "running", "h1"),
                ("later", "pending", "-"),
            ]
            assert (await run("wait", "--fleet", "a", "--for", "running")).out == "A is running\n"
            assert ["host", "h1"] in (await run("status", "--fleet", "A")).rows
            assert (await run("fleet", "rebalance")).status == 0
            assert [row[0] for row in (await run("fleet", "hosts")).rows] == ["h1", "h2"]


def test_a_part_of_an_answer_can_be_sent_on() -> None:
    for part in (Head(200, {"a": "b"}), Asked.of("GET", "/v1/agents", {"Accept": "x", "Cookie": "y"})):
        assert pickle.loads(pickle.dumps(part)) == part  # noqa: S301 (our own)
    assert Asked.of("GET", "/", {"Cookie": "y"}).headers == {}

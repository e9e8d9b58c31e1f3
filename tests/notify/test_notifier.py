"""Rules at work: real commands and real posts, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import base64
import getpass
import hashlib
import hmac
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from agentd.model.events import Event, EventKind
from agentd.model.notification import NoticeFormat, NotifyRule
from agentd.model.user import AgentUser
from agentd.notify import notifier as module
from agentd.notify.notifier import Notifier
from tests.notify.web import Hooks, hooks
from tests.support.waiting import until

FAILED = Event(EventKind.FAILED, "a", "exit status 3, s3cret-value", {"state": "failed"})
ON_FAILED = frozenset({"failed"})


@pytest.fixture
def web() -> Iterator[Hooks]:
    with hooks() as kept:
        yield kept


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACK_OFF", (0.01, 0.01))


@asynccontextmanager
async def telling(*rules: NotifyRule, **secrets: str) -> AsyncIterator[Notifier]:
    user = AgentUser(getpass.getuser(), os.getuid(), os.getgid(), (), Path.home(), "/bin/sh", switch=False)
    environ = {"PATH": os.environ["PATH"], "GREETING": "hello"}
    notifier = Notifier(
        user, environ, lambda text: text.replace("s3cret-value", "[redacted]"), time.time, time.monotonic
    )
    notifier.configure(rules, secrets)
    yield notifier
    await notifier.close()


async def test_a_command_gets_the_notice_and_the_sentence(short_folder: Path) -> None:
    told = short_folder / "told"
    script = f'cat >{told}.json; printf "%s|%s" "$1" "$GREETING" >{told}.new; mv {told}.new {told}'
    async with telling(NotifyRule(ON_FAILED, None, ("sh", "-c", script, "sh", "{text}"))) as notifier:
        notifier.take(FAILED)
        await until(told.exists)
    assert told.read_text() == "a: failed: exit status 3, [redacted]|hello"
    document = json.loads(Path(f"{told}.json").read_text())
    assert (document["type"], document["agent"], document["data"]) == ("failed", "a", {"state": "failed"})


async def test_a_post_is_signed_and_keeps_its_id_over_attempts(web: Hooks) -> None:
    web.statuses = [503, 429]
    async with telling(NotifyRule(ON_FAILED, None, (), web.url, secret="KEY"), KEY="sign with me") as notifier:
        notifier.take(FAILED)
        await until(lambda: len(web.posts) == 3)
    assert {post.headers["webhook-id"] for post in web.posts} == {json.loads(web.posts[0].body)["id"]}
    last = web.posts[-1]
    assert last.path == "/hook?token=t0ken"
    signed = f"{last.headers['webhook-id']}.{last.headers['webhook-timestamp']}.".encode() + last.body
    digest = hmac.new(b"sign with me", signed, hashlib.sha256).digest()
    assert last.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert b"s3cret-value" not in last.body


async def test_a_refusal_is_final_and_is_logged_without_the_url(web: Hooks) -> None:
    web.statuses = [404]
    with structlog.testing.capture_logs() as logged:
        async with telling(NotifyRule(ON_FAILED, None, (), web.url, NoticeFormat.TEXT)) as notifier:
            notifier.take(FAILED)
            await until(lambda: any(line["event"] == "notice_not_told" for line in logged))
    assert len(web.posts) == 1
    assert web.posts[0].body == b"a: failed: exit status 3, [redacted]"
    assert "t0ken" not in str(logged)
    assert "404" in str(logged)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (NotifyRule(ON_FAILED, None, ("no-such-program",)), "cannot run no-such-program"),
        (NotifyRule(ON_FAILED, None, ("sh", "-c", "echo no display >&2; exit 3")), "no display"),
        (NotifyRule(ON_FAILED, None, (), "http://127.0.0.1:9/"), "refused"),
        (NotifyRule(ON_FAILED, None, (), "http://127.0.0.1:9/", secret="KEY"), "no secret KEY"),
    ],
)
async def test_what_cannot_be_told_is_given_up_after_some_attempts(rule: NotifyRule, why: str) -> None:
    with structlog.testing.capture_logs() as logged:
        async with telling(rule) as notifier:
            notifier.take(FAILED)
            await until(lambda: any(line["event"] == "notice_not_told" for line in logged))
    assert [line["event"] for line in logged] == ["notice_delayed", "notice_delayed", "notice_not_told"]
    assert why in str(logged[-1]["reason"])


async def test_a_server_that_never_answers_holds_up_no_other_rule_and_not_the_end(web: Hooks) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        rules = (
            NotifyRule(ON_FAILED, None, (), f"http://127.0.0.1:{deaf.getsockname()[1]}/"),
            NotifyRule(ON_FAILED, None, (), web.url),
        )
        begun = time.monotonic()
        async with telling(*rules) as notifier:
            notifier.take(FAILED)
            await until(lambda: web.posts)
        assert time.monotonic() - begun < 30


async def test_a_rule_that_goes_tells_no_more_and_one_that_stays_goes_on(web: Hooks) -> None:
    stays, goes = NotifyRule(ON_FAILED, None, (), web.url), NotifyRule(ON_FAILED, ("a",), (), web.url)
    async with telling(stays, goes) as notifier:
        notifier.configure([stays], {})
        notifier.take(FAILED)
        await until(lambda: web.posts)
    assert len(web.posts) == 1


async def test_a_rule_goes_on_where_the_files_change_just_as_it_has_told_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[asyncio.Future[None]] = []

    def made(_name: str, _job: Callable[[], None]) -> asyncio.Future[None]:
        attempts.append(asyncio.get_running_loop().create_future())
        return attempts[-1]

    monkeypatch.setattr(module, "in_thread", made)
    rule = NotifyRule(ON_FAILED, None, ("true",))
    async with telling(rule) as notifier:
        notifier.take(FAILED)
        await until(lambda: len(attempts) == 1)
        attempts[0].set_result(None)
        # Before whoever waits for the attempt goes on.
        notifier.configure([rule], {})
        notifier.take(FAILED)
        await until(lambda: len(attempts) == 2)
        attempts[1].set_result(None)


async def test_a_flood_is_bounded_and_said(web: Hooks) -> None:
    async with telling(NotifyRule(ON_FAILED, None, (), web.url, per_minute=5)) as notifier:
        for _ in range(1000):
            notifier.take(FAILED)
        await until(lambda: len(web.posts) == 5)
    assert len(web.posts) == 5

"""Conversations of the real agents that fork: by responses of the gateway, and what the model is sent then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.openai.official import Traffic, official
from tests.harness.driven import DEADLINE, REAL, DrivenCli
from tests.harness.real_clis import RealCli
from tests.harness.stub_model import StubModel
from tests.support.forked import launch_of
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

pytestmark = REAL

FORKING = ("claude-code", "codex", "opencode")
SAID = ("first alpha", "second beta", "third gamma", "fourth delta", "fifth epsilon", "STUB-SLEEP:1000", "sixth zeta")


@pytest.fixture
def gateway(request: pytest.FixtureRequest, cli: RealCli) -> Iterator[Gateway]:
    if cli.harness not in FORKING:
        pytest.skip(f"{cli.harness} cannot fork a conversation")
    driven: DrivenCli = request.getfixturevalue("driven")
    driven.declare()
    gateway = Gateway(driven.daemon, launch_of(request))
    gateway.start()
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


def heard(model: StubModel, message: str) -> list[str]:
    """What had been said to the agent, as the model was told with the last request for a message."""

    def told() -> list[str]:
        texts = [each.texts for each in model.turns if each.prompt == message]
        return [text for text in texts[-1] if text in SAID] if texts else []

    return wait_for(told, DEADLINE, what=f"the model is told {message!r}")


def records(driven: DrivenCli, said: str) -> dict[Path, bytes]:
    """The harness's files of conversations in which something was said."""
    folder = {"claude-code": ".claude/projects", "codex": ".codex/sessions"}.get(driven.cli.harness)
    if folder is None:
        return {}
    files = {path: path.read_bytes() for path in (driven.daemon.home / folder).rglob("*.jsonl")}
    return {path: content for path, content in files.items() if said.encode() in content}


def test_a_response_that_is_not_the_last_is_forked(driven: DrivenCli, model: StubModel, gateway: Gateway) -> None:
    traffic = Traffic()
    with official(gateway.url, traffic, timeout=DEADLINE) as client:

        def say(text: str, after: str | None, *, background: bool = False) -> str:
            made = client.responses.create(model="agent", input=text, previous_response_id=after, background=background)
            if not background:
                assert made.status == "completed", f"{made}\n{gateway.log_text()}\n{driven.daemon.explain()}"
                assert made.output_text == f"STUB-REPLY: {text}"
            return made.id

        first = say("first alpha", None)
        second = say("second beta", first)
        before = records(driven, "second beta")
        third = say("third gamma", first)
        assert heard(model, "third gamma") == ["first alpha", "third gamma"]
        # Claude Code notes a moment after a turn how long it took.
        after = records(driven, "second beta")
        assert after.keys() == before.keys(), "the other conversation stays as it is"
        assert all(after[path].startswith(content) for path, content in before.items())
        assert not any(b"third gamma" in content for content in after.values())
        say("fourth delta", second)
        assert heard(model, "fourth delta") == ["first alpha", "second beta", "fourth delta"]
        say("fifth epsilon", third)
        assert heard(model, "fifth epsilon") == ["first alpha", "third gamma", "fifth epsilon"]
        assert len(gateway.ask("GET", "/sessions")["sessions"]) == 2, "what is the last of its conversation goes on"

        at_work = say("STUB-SLEEP:1000", third, background=True)
        assert heard(model, "STUB-SLEEP:1000") == ["first alpha", "third gamma", "STUB-SLEEP:1000"]
        say("sixth zeta", second)
        assert heard(model, "sixth zeta") == ["first alpha", "second beta", "sixth zeta"]
        client.responses.cancel(at_work)
    traffic.check()

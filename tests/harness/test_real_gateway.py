"""Each real agent behind the gateway: a conversation with a tool, a permission, an interrupt and a SIGKILL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.gateway.openai.official import Traffic, official
from tests.harness.driven import DAYS, DEADLINE, DrivenCli
from tests.support.forked import launch_of
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

pytestmark = DAYS

CONFIG = "OPENCODE_CONFIG_CONTENT"


def asking(driven: DrivenCli) -> Mapping[str, object]:
    """What has an agent ask before it uses a tool, where it does not anyway."""
    match driven.cli.harness:
        case "codex":
            return {"args": ["-a", "on-request"]}
        case "opencode":
            config = {**json.loads(driven.env[CONFIG]), "permission": {"bash": "ask"}}
            return {"env": {**driven.env, CONFIG: json.dumps(config)}}
        case _:
            return {}


@pytest.fixture
def gateway(request: pytest.FixtureRequest, driven: DrivenCli) -> Iterator[Gateway]:
    driven.declare(**asking(driven))
    gateway = Gateway(driven.daemon, launch_of(request))
    gateway.start()
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


def asks_to_write(driven: DrivenCli, name: str) -> str:
    """Give a message that has the agent use a tool, for which it needs a permission."""
    file = driven.daemon.workdir / name
    if driven.cli.harness == "codex":
        return (
            f'STUB-TOOL:exec_command {{"cmd":"echo yes > {file}","sandbox_permissions":"require_escalated",'
            '"justification":"May I write it?"}'
        )
    return f"STUB-BASH:echo yes > {file}"


def test_a_conversation_of_five_turns(driven: DrivenCli, gateway: Gateway) -> None:
    traffic = Traffic()
    with official(gateway.url, traffic, timeout=DEADLINE) as client:
        fourth = four_turns(driven, gateway, client)
    gateway.kill()
    gateway.start()
    with official(gateway.url, traffic, timeout=DEADLINE) as client:
        done = wait_ended(client, fourth)
        assert (done.status, done.output_text) == ("completed", "STUB-REPLY: STUB-SLEEP:6"), explain(gateway, done)
        fifth = client.responses.create(model="agent", input="and now?", previous_response_id=fourth.id)
    assert fifth.output_text == "STUB-REPLY: and now?"
    traffic.check()


def four_turns(driven: DrivenCli, gateway: Gateway, client: OpenAI) -> Response:
    """Have an answer, a permission and an interrupt; give the fourth, which is under way."""
    with client.responses.create(model="agent", input="hello there", stream=True) as stream:
        events = list(stream)
    last = events[-1]
    assert last.type == "response.completed", explain(gateway, last)
    assert last.response.output_text == "STUB-REPLY: hello there"

    asking = asks_to_write(driven, "allowed")
    second = client.responses.create(
        model="agent", input=asking, previous_response_id=last.response.id, background=True
    )
    answer(gateway, second, "allow")
    done = wait_ended(client, second)
    assert done.status == "completed", done
    assert done.output_text.endswith(f"STUB-REPLY: {asking}")
    assert (driven.daemon.workdir / "allowed").read_text() == "yes\n"
    tools = [item for item in done.output if item.type == "mcp_call" and item.server_label == driven.cli.harness]
    assert [tool.status for tool in tools] == ["completed"]

    third = client.responses.create(
        model="agent", input="STUB-SLEEP:60", previous_response_id=second.id, background=True
    )
    wait_asked(driven, "STUB-SLEEP:60")
    assert client.responses.cancel(third.id).status == "cancelled"

    fourth = client.responses.create(
        model="agent", input="STUB-SLEEP:6", previous_response_id=third.id, background=True
    )
    wait_asked(driven, "STUB-SLEEP:6")
    return fourth


def explain(gateway: Gateway, shown: object) -> str:
    """Show all that may tell why a turn did not go as it should."""
    runs = gateway.ask("GET", "/runs")["runs"]
    diagnosis = gateway.ask("GET", f"/runs/{runs[0]['id']}/diagnose")
    screens = [gateway.daemon.screen(name).strip() for name in gateway.daemon.sessions()]
    return "\n".join([str(shown), str(diagnosis), gateway.log_text(), gateway.daemon.explain(), *screens])


def answer(gateway: Gateway, response: Response, decision: str) -> None:
    """Answer what the agent asks, by the ids that the response shows."""
    run = response.id.replace("resp_", "run_")

    def request() -> str | None:
        shown = gateway.ask("GET", f"/v1/responses/{response.id}")
        asks = [item for item in shown["output"] if item["type"] == "mcp_call" and item["server_label"] == "agentd"]
        return str(asks[0]["approval_request_id"]) if asks else None

    found = wait_for(request, DEADLINE, what="the agent asks", explain=gateway.log_text)
    assert gateway.ask("GET", f"/runs/{run}")["run"]["status"] == "awaiting_input"
    gateway.ask("POST", f"/runs/{run}/answer", {"request_id": found, "decision": decision})


def wait_ended(client: OpenAI, response: Response) -> Response:
    def ended() -> Response | None:
        found = client.responses.retrieve(response.id)
        return found if found.status not in ("queued", "in_progress") else None

    return wait_for(ended, DEADLINE, what=f"{response.id} has ended")


def wait_asked(driven: DrivenCli, text: str) -> None:
    """Wait until the turn of a message is under way, by agentd's own view."""

    def working() -> bool:
        agents = driven.daemon.agents().values()
        return any(agent["name"] != "agent" and agent["activity"] == "working" for agent in agents)

    wait_for(working, DEADLINE, what=f"{text!r} is under way")

"""A running agentd and its collector: [otel]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agentd.otel.ids import trace_id
from tests.cli.support import Client
from tests.daemon.support import running, stay
from tests.daemon.test_custom_turns import activity
from tests.daemon.test_turns import kinds
from tests.otel.collector import Collector, collector, values
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples/turns/agent.py"
SECRET = "t0p-secret-token"


def otel(web: Collector, more: str, *agents: dict[str, object]) -> str:
    return f'{jcard(*agents)}\n[otel]\nendpoint = "{web.url}"\n{more}\n'


def test_a_run_and_its_turns_are_a_trace_also_over_a_restart_of_agentd(daemon: Daemon) -> None:
    client = Client(daemon.folder, daemon.places)
    talker: dict[str, object] = {
        "name": "a",
        "command": [sys.executable, "-S", "-X", "utf8", str(EXAMPLE)],
        "workdir": str(daemon.workdir),
        "secrets": [],
    }
    with collector() as web:
        daemon.write_secret("OTEL_TOKEN", SECRET)
        daemon.write_jcard(otel(web, 'headers = { authorization = "OTEL_TOKEN" }', talker))
        daemon.start("--on-shutdown", "keep", env={"OTEL_EXPORTER_OTLP_HEADERS": "x-other=for-another"})
        daemon.wait_for(lambda: activity(daemon) == "idle", what="it is ready")
        assert client("ask", "a", "hello", "--timeout", "30s").out == "done: hello (nothing)\n"
        daemon.wait_for(lambda: "turn_usage" in kinds(daemon), what="what it used is told")
        assert daemon.stop() == 0
        assert "run a" not in web.spans(), "it runs on"
        assert "gen_ai.client.token.usage" in web.metrics()
        assert "agentd.turn_ended" in {record.event_name for record in web.records()}
        before = len(web.posts)
        daemon.start("--on-shutdown", "stop")
        running(daemon, "a")
        wait_for(lambda: len(web.posts) > before, what="it sends")
        assert daemon.stop() == 0
        run, turn = web.spans()["run a"], web.spans()["invoke_agent a"]
        assert (turn.trace_id, turn.parent_span_id) == (run.trace_id, run.span_id)
        assert turn.start_time_unix_nano > run.start_time_unix_nano
        assert run.trace_id == trace_id(str(values(run.attributes)["agentd.run.id"])).to_bytes(16, "big")
        told = values(turn.attributes)
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.agent.name"]) == (5, "a")
        assert web.resource()["service.name"] == "agentd"
        assert {post.headers.get("authorization") for post in web.posts} == {SECRET}
        assert not any("x-other" in post.headers for post in web.posts)
        everything = b"".join(post.body for post in web.posts)
    assert b"hello" not in everything, "what is said is not sent unless it is declared"
    assert SECRET.encode() not in everything
    assert SECRET not in daemon.log_text()
    assert daemon.left_behind() == []


@pytest.mark.thorough
def test_a_collector_that_hangs_holds_up_neither_agents_nor_the_end(daemon: Daemon) -> None:
    with collector(hangs=True) as web:
        daemon.write_jcard(otel(web, "", stay("a")))
        daemon.start()
        running(daemon, "a")
        wait_for(lambda: web.posts, what="it was tried")
        daemon.write_jcard(otel(web, "", stay("a"), stay("b")))
        running(daemon, "b")
        assert daemon.stop() == 0


@pytest.mark.thorough
def test_nobody_there_is_a_line_in_the_log_and_a_count(daemon: Daemon) -> None:
    daemon.write_jcard(f'{jcard(stay("a"))}\n[otel]\nendpoint = "http://127.0.0.1:9"\nsend = ["metrics"]\n')
    daemon.start()
    running(daemon, "a")
    daemon.wait_for(lambda: "telemetry_not_sent" in daemon.log_text(), what="it is said")
    lines = [json.loads(line) for line in daemon.log_text().splitlines() if "telemetry_not_sent" in line]
    assert [line["signal"] for line in lines] == ["metrics"]
    assert "Connection refused" in lines[0]["reason"]
    assert daemon.health()["state"] == "running"

"""Turns and tools of the real CLIs as spans, as a collector gets them."""

from __future__ import annotations

import json

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.test_real_turns import wait_activity
from tests.otel.collector import Collector, collector, values

pytestmark = REAL

PROVIDERS = {"claude-code": "anthropic", "codex": "openai", "gemini-cli": "gcp.gemini", "opencode": "opencode"}


def of_turns(web: Collector) -> list[Span]:
    return [span for span in web.all_spans() if span.name.startswith("invoke_agent")]


def test_a_turn_says_what_it_used_and_a_tool_is_below_it(driven: DrivenCli) -> None:
    daemon, harness = driven.daemon, driven.cli.harness
    with collector() as web:
        driven.declare()
        declared = daemon.jcard.read_text()
        daemon.write_jcard(f'{declared}\n[otel]\nendpoint = "{web.url}"\ncontent = true\n')
        wait_activity(driven, "idle")
        output_of(driven, "ask", f"--timeout={DEADLINE / 2:g}s", "agent", "geheim")
        daemon.wait_for(lambda: "invoke_agent agent" in web.spans(), DEADLINE, what="the turn arrives")
        turn = web.spans()["invoke_agent agent"]
        told = values(turn.attributes)
        assert (told["gen_ai.provider.name"], told["agentd.turn.outcome"]) == (PROVIDERS[harness], "completed")
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (10, 5)
        assert "geheim" in json.loads(str(told["gen_ai.input.messages"]))[0]["parts"][0]["content"]
        assert "STUB-REPLY" in json.loads(str(told["gen_ai.output.messages"]))[0]["parts"][0]["content"]
        assert told["gen_ai.conversation.id"]
        if harness == "claude-code":
            output_of(driven, "ask", f"--timeout={DEADLINE / 2:g}s", "agent", "STUB-BASH:true")
            daemon.wait_for(lambda: len(of_turns(web)) > 1, DEADLINE, what="the second turn arrives")
            tool = web.spans()["execute_tool Bash"]
            assert (tool.trace_id, tool.parent_span_id) == (turn.trace_id, of_turns(web)[1].span_id)
            assert "true" in str(values(tool.attributes)["gen_ai.tool.call.arguments"])
        stopped = declared.replace('name = "agent"', 'name = "agent"\nenabled = false', 1)
        daemon.write_jcard(f'{stopped}\n[otel]\nendpoint = "{web.url}"\ncontent = true\n')
        daemon.wait_for(lambda: "run agent" in web.spans(), DEADLINE, what="the run arrives")
        run = web.spans()["run agent"]
        assert (turn.trace_id, turn.parent_span_id) == (run.trace_id, run.span_id)
        assert values(run.attributes)["agentd.run.stop_cause"] == "disabled"

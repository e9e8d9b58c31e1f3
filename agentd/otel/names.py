"""Names of attributes, as the semantic conventions have them, and those of agentd's own.

They stand here since the packages of the conventions call all that is about generative AI in development, and move it.
Source: https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"
PROVIDER: Final = "gen_ai.provider.name"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
MODEL: Final = "gen_ai.request.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL: Final = "gen_ai.tool.name"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 (the name of an attribute)

ERROR: Final = "error.type"
EXIT_CODE: Final = "process.exit.code"
PID: Final = "process.pid"

HARNESS: Final = "agentd.harness"
RUN: Final = "agentd.run.id"
RESTARTS: Final = "agentd.run.restarts"
REASON: Final = "agentd.run.reason"
SIGNAL: Final = "agentd.run.exit_signal"
STOPPED: Final = "agentd.run.stop_cause"
TURN: Final = "agentd.turn.id"
OUTCOME: Final = "agentd.turn.outcome"
COST: Final = "agentd.turn.cost_usd"
NOT_SEEN: Final = "agentd.start_not_seen"
"""Whether the start is not known: what began before agentd did, and was not told before."""

PROVIDERS: Final = {"claude-code": "anthropic", "codex": "openai", "gemini-cli": "gcp.gemini"}
"""Whose models a harness uses; another's are not known, and it stands for itself."""

"""The tables. A migration for every change of them stands in ``migrations/versions``.

Texts of clients and agents are JSON, since PostgreSQL's own texts cannot hold every character. There are no foreign
keys: all writes go through this package, and sessions are removed with all that is theirs.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table

METADATA: Final = MetaData()

_Cursor = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers only an INTEGER by itself."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String, primary_key=True),
    Column("title", JSON(none_as_null=True)),
    Column("status", String, nullable=False),
    Column("agent", String),
    Column("harness", String, nullable=False),
    Column("workdir", String, nullable=False),
    Column("tmux_session", String, nullable=False),
    Column("provider_thread_id", String),
    Column("parent_session_id", String),
    Column("parent_run_id", String),
    Column("owner", String),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("metadata", JSON, nullable=False),
    # Not shown: the name of the agent that holds the conversation, whether it is the gateway's own, and declared now,
    # the last line of agentd's stream that was stored, and when a run ended last.
    Column("target", String, nullable=False),
    Column("own", Boolean, nullable=False),
    Column("elsewhere", Boolean, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("stream_after", BigInteger),
    Column("used_at", Double, nullable=False),
    # What its conversation begins with, as in a jcard.
    Column("fork_from", String),
    Index("sessions_by_owner", "owner", "id"),
    Index("sessions_by_status", "status", "id"),
    Index("sessions_by_agent", "agent", "id"),
    Index("sessions_by_declared", "declared", "used_at"),
)

MESSAGES: Final = Table(
    "messages",
    METADATA,
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("run_id", String),
    Column("role", String, nullable=False),
    Column("text", JSON, nullable=False),
    Column("request_kind", String),
    Column("created_at", Double, nullable=False),
    Index("messages_by_session", "session_id", "id"),
)

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("parent_run_id", String),
    Column("status", String, nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("result_text", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("exit_code", Integer),
    Column("exit_signal", Integer),
    Column("usage", JSON(none_as_null=True)),
    Column("worker_id", String),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("timeout_s", Double),
    # Not shown: its place in the queue (the cursor of its run.queued), whose it is, which agent it talks to, the
    # message that this agent is given (the run's own id, or that of a message that continued it) and its turn; and what
    # there is to do for it, and since when: an agent may still be at a run that is over.
    Column("position", BigInteger, nullable=False),
    Column("owner", String),
    Column("target", String, nullable=False),
    Column("delivery_id", String),
    Column("delivery_text", JSON(none_as_null=True)),
    Column("turn_id", String),
    Column("stage", String, nullable=False),
    Column("working_since", Double),
    # The end of its turn, as in a jcard's fork_from.
    Column("fork_point", String),
    Index("runs_by_session", "session_id", "id"),
    Index("runs_by_status", "status", "position"),
    Index("runs_by_owner", "owner", "id"),
    Index("runs_by_parent", "parent_run_id"),
    Index("runs_by_stage", "stage", "position"),
)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("cursor", _Cursor, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("run_id", String),
    Column("owner", String),
    Column("event_type", String, nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("events_by_session", "session_id", "cursor"),
    Index("events_by_run", "run_id", "cursor"),
    Index("events_by_owner", "owner", "cursor"),
    Index("events_by_time", "created_at"),
    sqlite_autoincrement=True,  # else a cursor is given twice once the last events were removed
)

REQUESTS: Final = Table(
    "requests",
    METADATA,
    Column("run_id", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", JSON, nullable=False),
    Column("text", JSON, nullable=False),
    Column("decision", String),
    Column("answer", JSON(none_as_null=True)),
    Column("asked_at", Double, nullable=False),
)
"""What agents asked for in runs; the decision is null while nobody decided. The answer is yet to be passed on."""

ALLOWANCES: Final = Table(
    "allowances",
    METADATA,
    Column("session_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
)
"""What was allowed always in a session: hashes of a tool's name and of what exactly it was to do."""

IDEMPOTENCY: Final = Table(
    "idempotency",
    METADATA,
    Column("token", String, primary_key=True),
    Column("route", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("idempotency_by_time", "created_at"),
)

RESPONSES: Final = Table(
    "responses",
    METADATA,
    Column("id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("owner", String),
    Column("created_at", Double, nullable=False),
    Column("model", JSON, nullable=False),
    Column("harness", String, nullable=False),
    Column("background", Boolean, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("alone", Boolean, nullable=False),
    Column("conversation_id", String),
    Column("asked", JSON, nullable=False),
    Column("input", JSON, nullable=False),
    # Of the request, until somebody has the answer: a client that repeats it is given that.
    Column("unanswered", String),
    Index("responses_by_session", "session_id"),
    Index("responses_by_unanswered", "unanswered"),
    Index("responses_by_alone", "alone"),
)
"""What clients of OpenAI's interface asked for; each is a run, and shown from that run's events."""

CONVERSATIONS: Final = Table(
    "conversations",
    METADATA,
    Column("id", String, primary_key=True),
    Column("owner", String),
    Column("created_at", Double, nullable=False),
    Column("metadata", JSON, nullable=False),
    # The session in which it goes on; null before the first response.
    Column("session_id", String),
    Column("model", JSON(none_as_null=True)),
)

CONVERSATION_ENTRIES: Final = Table(
    "conversation_entries",
    METADATA,
    Column("position", _Cursor, primary_key=True, autoincrement=True),
    Column("conversation_id", String, nullable=False),
    # Either an item that a client put there, or a response with all its items.
    Column("item", JSON(none_as_null=True)),
    Column("response_id", String),
    Column("told", Boolean, nullable=False),
    Index("conversation_entries_by_conversation", "conversation_id", "position"),
    sqlite_autoincrement=True,
)

CONVERSATION_REMOVED: Final = Table(
    "conversation_removed",
    METADATA,
    Column("conversation_id", String, primary_key=True),
    Column("item_id", String, primary_key=True),
)
"""Items of responses that were taken out of a conversation."""

MANAGED_AGENTS: Final = Table(
    "managed_agents",
    METADATA,
    # agentd's name of it in lower case: names differ in more than their case.
    Column("key", String, primary_key=True),
    Column("username", String, nullable=False),
    Column("name", String, nullable=False),
    Column("harness", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("definition", JSON, nullable=False),
    # Not shown: arguments and model of its launch, by its harness's own names.
    Column("launch", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("keep", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("stream_after", BigInteger),
    Index("managed_agents_by_username", "username"),
)
"""Agents that users made by the API."""

CONFIRMATIONS: Final = Table(
    "confirmations",
    METADATA,
    Column("id", String, primary_key=True),
    Column("agent", String, nullable=False),
    Column("username", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("target", String, nullable=False),
    Column("request", String, nullable=False),
    Column("server_name", JSON, nullable=False),
    Column("tool_name", JSON, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("tool", JSON(none_as_null=True)),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("default_answer", Boolean, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("answer", Boolean),
    Column("decided_by", String),
    Column("confirmed", Boolean),
    Column("decided_at", Double),
    Column("gone", Boolean, nullable=False),
    Index("confirmations_by_agent", "agent", "confirmed"),
    Index("confirmations_by_confirmed", "confirmed", "asked_at"),
    Index("confirmations_by_session", "session_id"),
)
"""Tools that somebody has to confirm; the answer is null while nobody gave one, and then yet to be passed on."""

CHANNELS: Final = Table(
    "channels",
    METADATA,
    Column("channel", String, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
)
"""Channels by brokers, and the last event of which their other end was told."""

CHANNEL_SESSIONS: Final = Table(
    "channel_sessions",
    METADATA,
    Column("channel", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    # Hash of the channel_id; several sessions held a conversation if the former ones were closed.
    Column("conversation", String, nullable=False),
    Column("newest", Boolean, nullable=False),
    Index("channel_sessions_by_session", "session_id"),
)
"""The sessions that hold a channel's conversations."""

CHANNEL_MESSAGES: Final = Table(
    "channel_messages",
    METADATA,
    Column("channel", String, primary_key=True),
    Column("message_id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("in_reply_to", JSON, nullable=False),
    Column("channel_id", JSON(none_as_null=True)),
    Column("metadata", JSON(none_as_null=True)),
    Index("channel_messages_by_run", "run_id"),
    Index("channel_messages_by_session", "session_id"),
)
"""Messages that came by channels, by the broker's ids: each is taken once."""

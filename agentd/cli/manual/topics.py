"""The topics of ``agentctl help``: what belongs to no single command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import wrap

from agentd.model.states import AgentState
from agentd.settings.flags import OPTIONS

# Lines begin with two spaces where they are shown as they are, in the terminal and in the manual page alike.
_GETTING_STARTED = """\
agentd runs the agents that one file declares, the jcard, and keeps them running. As a user it is
~/.config/agentd/jcard.toml, as root /etc/stereos/jcard.toml. Each agent lives in a tmux session of its own.

  [[agents]]
  name = "reviewer"
  harness = "claude-code"       # opencode, gemini-cli, codex; acp or custom with a command
  workdir = "~/src/project"
  prompt = "Review the last commit."
  mode = "interactive"          # stay after the answer; oneshot: exit
  restart = "on-failure"

First steps:

  agentctl validate                         check the file
  agentctl doctor                           check this machine
  agentctl service install                  run agentd now and at every start; or just run agentd
  agentctl status                           show how the agents are doing
  agentctl attach reviewer                  open its terminal; C-b d leaves it, and the agent keeps running
  agentctl send reviewer "and the tests?"   send it a message

Changes of the file take effect when you save it; agentctl plan FILE shows them beforehand."""

_SECRETS = """\
Each secret is a file in the secret directory: its name is the environment variable, its content the value, without
trailing line breaks. As a user the directory is ~/.config/agentd/secrets, as root /run/stereos/secrets.

  mkdir -m 700 -p ~/.config/agentd/secrets
  install -m 600 /dev/stdin ~/.config/agentd/secrets/ANTHROPIC_API_KEY

An agent receives all secrets, or those listed in its secrets = ["NAME"]; env in the jcard takes precedence over a
secret of the same name. A changed secret restarts the agents that receive it, and no others. Values never appear in
logs, in the API or on a command line. Hidden files and folders are skipped. agentctl doctor warns of files that cannot
be used."""

_STATES: Mapping[AgentState, str] = {
    AgentState.PENDING: "declared, not launched yet",
    AgentState.QUEUED: "waits for a slot by [limits] and [[pools]], for others by after, for its schedule or a trigger",
    AgentState.STARTING: "being launched",
    AgentState.RUNNING: "its process runs",
    AgentState.STOPPING: "told to stop, within its grace_period",
    AgentState.BACKOFF: "ended or could not be launched, and will be restarted",
    AgentState.EXITED: "ended successfully, and is not restarted",
    AgentState.FAILED: "failed or could not be launched, and is not restarted",
    AgentState.TIMED_OUT: "stopped by its timeout, and is not restarted",
    AgentState.DISABLED: "declared with enabled = false",
}

_EXIT_STATUS = """\
Of agentctl:

  0   done
  1   failed; one sentence on stderr says why and what to do, with --json {"error": ...} on stdout too
  2   the command line is wrong
  3   agentd is not reachable; the message names the socket

What 1 means for some commands: validate found errors or warnings; doctor found an error; wait ran out of time; send:
the agent did not take the message; service status: not active. Where a command is about workers, error is an object
with code, message and details, in which example is the next command; elsewhere it is the sentence. A signal that ends
agentctl gives 128 + its number.

Of agentd:

  0   shut down as requested
  1   cannot start; with --check: the jcard is not valid
  2   the command line is wrong

Of an agent: exit_code is the exit status of its program, exit_signal the signal that ended it; success_exit_codes in
the jcard lists the codes that are no failure."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic."""

    summary: str
    text: Callable[[], str]


def _states() -> str:
    widest = max(map(len, _STATES))
    table = "\n".join(f"  {state:{widest}}  {meaning}" for state, meaning in _STATES.items())
    return f"""\
The state of an agent, as status, list and the API name it:

{table}

An agent that exited, failed or timed out stays so until its definition changes or somebody restarts it. Its session
stays too, with all output and a shell in its workdir: agentctl attach NAME."""


def _sockets() -> str:
    rows = []
    for option in OPTIONS:
        if option.environment is not None:
            rows += [
                f"  {option.flag}  ({option.environment})",
                f"      {option.help}",
                *([f"      as root {option.as_root}"] if option.as_root else [f"      {option.default_text}"]),
                *([f"      else    {option.as_user}"] if option.as_user else []),
                "",
            ]
    return "\n".join(
        [
            "agentd and agentctl take the same flags and environment variables for their files and sockets. A flag",
            "wins over its variable, and that over the default.",
            "",
            *rows,
            "If XDG_RUNTIME_DIR is not set, it is /run/user/UID, or else a folder of yours in the temporary directory.",
            "To use the system's agentd without being root, be in its admin group and name its sockets.",
        ]
    )


def _fields() -> str:
    from agentd.jcard.reference import field_reference
    from agentd.jcard.schema import agent_schema

    rows = []
    for field in field_reference(agent_schema()):
        default = "required" if field.required else f"default {field.default}" if field.default is not None else ""
        rows.append(f"  {field.name}  ({', '.join(filter(None, (field.type, default)))})".replace("`", ""))
        rows += [*wrap(field.meaning.replace("`", ""), 112, initial_indent=" " * 6, subsequent_indent=" " * 6), ""]
    return "\n".join(
        [
            "[agent] declares one agent, [[agents]] any number. The fields of an agent:",
            "",
            *rows,
            "Durations are written as in Go: 300ms, 1.5h, 1h30m. Relative paths are relative to the jcard's folder.",
        ]
    )


TOPICS: Mapping[str, Topic] = {
    "getting-started": Topic("from nothing to a running agent", lambda: _GETTING_STARTED),
    "jcard": Topic("the fields of the file that declares the agents", _fields),
    "states": Topic("what the states of an agent mean", _states),
    "secrets": Topic("how agents get keys and tokens", lambda: _SECRETS),
    "sockets": Topic("flags, environment variables and default paths", _sockets),
    "exit-status": Topic("the exit statuses of agentctl, agentd and agents", lambda: _EXIT_STATUS),
}
"""All topics by name."""

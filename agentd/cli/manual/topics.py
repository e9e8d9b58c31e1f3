"""The topics of ``agentctl help``: what no single command's ``--help`` has a place for."""

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
  harness = "claude-code"       # opencode, gemini-cli, codex, or custom with a command of yours
  workdir = "~/src/project"
  prompt = "Review the last commit."
  mode = "interactive"          # stay for more; oneshot: answer and exit
  restart = "on-failure"

What you would type, in order:

  agentctl validate                         is the file good?
  agentctl doctor                           is this machine ready for it?
  agentctl service install                  run agentd, now and from now on; or just: agentd
  agentctl status                           how the agents are doing
  agentctl attach reviewer                  into its terminal; C-b d comes back, and it runs on
  agentctl send reviewer "and the tests?"   without going there

Save the file, and what changed in it is acted on at once; agentctl plan FILE says beforehand what that would be."""

_SECRETS = """\
One file for each secret, in the secret directory: its name is the environment variable, its content the value, line
breaks at the end not counted. As a user the directory is ~/.config/agentd/secrets, as root /run/stereos/secrets.

  mkdir -m 700 -p ~/.config/agentd/secrets
  install -m 600 /dev/stdin ~/.config/agentd/secrets/ANTHROPIC_API_KEY

An agent receives all of them, or those that its secrets = ["NAME"] lists; env in the jcard wins over a secret of the
same name. A secret that changes restarts the agents that receive it, and no others. Values are in no log, no answer
of the API and on no command line. Hidden files and folders are skipped; what cannot be used is a warning that names
the file: agentctl doctor shows it."""

_STATES: Mapping[AgentState, str] = {
    AgentState.PENDING: "declared, not launched yet",
    AgentState.STARTING: "being launched",
    AgentState.RUNNING: "its own process lives",
    AgentState.STOPPING: "asked to end, and given its grace_period for that",
    AgentState.BACKOFF: "ended, or could not be launched, and waits for its next start",
    AgentState.EXITED: "ended with success, and its restart policy says no more",
    AgentState.FAILED: "ended in failure or could not be launched, and no restart is left",
    AgentState.TIMED_OUT: "stopped because its timeout was over; not restarted",
    AgentState.DISABLED: "declared with enabled = false",
}

_EXIT_STATUS = """\
Of agentctl:

  0   done
  1   failed; one sentence on stderr says why and what to do, with --json {"error": ...} on stdout too
  2   the command line makes no sense
  3   agentd is not reachable; the message names the socket

Some commands say more with 1: validate, errors or warnings; doctor, an error; wait, the time was over; send, the agent
did not take the text; service status, not active. A signal that ends agentctl gives 128 + its number.

Of agentd:

  0   shut down as it was asked to
  1   cannot start; with --check: the jcard is not valid
  2   the command line makes no sense

Of an agent: exit_code is what its program ended with, exit_signal the signal that ended it; success_exit_codes in the
jcard says which codes are none of a failure."""


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

An agent that exited, failed or timed out stays so until its definition changes, or it is restarted by hand. Its session
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
            "agentd and agentctl find their files and sockets by the same flags and environment variables. A flag wins",
            "over its variable, and that over the default.",
            "",
            *rows,
            "XDG_RUNTIME_DIR is /run/user/UID where it is not set, else a folder of yours in the temporary directory.",
            "To look at the agentd of the system as another user than root: be in its admin group, name its sockets.",
        ]
    )


def _fields() -> str:
    from agentd.jcard.reference import field_reference

    rows = []
    for field in field_reference():
        default = "required" if field.required else f"default {field.default}" if field.default is not None else ""
        rows.append(f"  {field.name}  ({', '.join(filter(None, (field.type, default)))})".replace("`", ""))
        rows += [*wrap(field.meaning.replace("`", ""), 112, initial_indent=" " * 6, subsequent_indent=" " * 6), ""]
    return "\n".join(
        [
            "[agent] declares one agent, [[agents]] as many as you like. The fields of an agent:",
            "",
            *rows,
            "Durations are written as in Go: 300ms, 1.5h, 1h30m. Relative paths start at the jcard's folder.",
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
"""By the name that is typed."""

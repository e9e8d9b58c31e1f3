"""What agents and people are told who begin with workers: first steps, and what is read and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentd.pool.inventory import inventory
from agentd.pool.pool import Pool
from agentd.settings.settings import Settings

_INSTALL: Final = {
    "claude-code": "npm install -g @anthropic-ai/claude-code",
    "codex": "npm install -g @openai/codex",
    "gemini-cli": "npm install -g @google/gemini-cli",
    "opencode": "npm install -g opencode-ai",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first steps."""

    provider: str | None
    done: bool
    what: str
    command: str | None


@dataclass(frozen=True, slots=True)
class Setup:
    """The first steps, done or not."""

    ready: bool
    """Whether a worker can be spawned."""
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Handled:
    """Something that is read or stored."""

    what: str
    where: str
    read: bool
    stored: bool
    why: str
    leaves_machine: bool


@dataclass(frozen=True, slots=True)
class Privacy:
    """What is read, and what is stored."""

    entries: Sequence[Handled]


async def setup(pool: Pool, provider: str | None = None) -> Setup:
    """Say what is to be done before workers can be spawned.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    found = await inventory(pool, provider)
    steps = [Step(None, done=True, what="agentd runs", command=None)]
    for each in found.providers:
        install = _INSTALL.get(each.harness)
        steps.append(Step(each.id, each.installed, "its program is installed", None if each.installed else install))
        if each.installed and each.auth.present is not None:
            login = None if each.auth.present or each.binary is None else each.binary
            steps.append(Step(each.id, each.auth.present, "it can log in", login))
        if not each.allowed:
            steps.append(Step(each.id, done=False, what=each.note or "a policy refuses it", command=None))
    usable = [each for each in found.providers if each.installed and each.allowed]
    if usable:
        smoke = f"agentctl smoke --provider {usable[0].id}"
        steps.append(Step(usable[0].id, done=False, what="try a round trip", command=smoke))
    return Setup(bool(usable), steps)


def privacy(settings: Settings) -> Privacy:
    """Say what is read, and what is stored; nothing of it leaves the machine by agentd."""
    state, folder = settings.state_dir, settings.config_dir

    def entry(what: str, where: str, why: str, *, read: bool = True, stored: bool = False) -> Handled:
        return Handled(what, where, read, stored, why, leaves_machine=False)

    return Privacy(
        [
            entry("names of secrets, never their values", str(settings.secret_dir), "inventory says who can log in"),
            entry("whether a login file is there, never its content", "the agents' home", "inventory says so"),
            entry("--version of each program", "its own program", "inventory; kept by path", stored=True),
            entry(
                "tokens, cost and quota that programs record",
                "~/.claude/projects, Claude Code's status line, $CODEX_HOME/sessions, ~/.gemini/tmp, OpenCode's server",
                "usage and stats; kept as numbers in the journal",
                stored=True,
            ),
            entry(
                "tasks of workers, as given", f"{folder}/workers/*.toml", "until terminate removes them", stored=True
            ),
            entry(
                "what workers print",
                f"{state}/agents/*/runs",
                "transcripts, with their limits of age and size",
                stored=True,
            ),
            entry(
                "events, with questions and the first 4000 characters of answers",
                f"{state}/journal",
                "observe, stats",
                stored=True,
            ),
            entry("messages to workers", str(state), "delivered once, kept for 7 days", stored=True),
            entry("leases", f"{state}/pool/leases.json", "who works on which path", stored=True),
            entry("preferences.md", str(settings.config.parent), "shown by inventory"),
        ]
    )

"""Which rule decides a request: the first that is about it. Pure.

Whether a rule is about a request may be unsure: an agent's program does not say what its tool is given, or a shell does
more with a command than can be read. Such a rule does not allow; it denies nothing either, but leaves the request to
somebody, since what it denies may be in it.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final

from agentd.model.approvals import ApprovalAction, ApprovalRule
from agentd.turns.approvals.shell import SHELLS, Command, Script

_RUNNERS: Final = SHELLS | {
    "busybox", "chroot", "command", "doas", "env", "eval", "exec", "find", "nice", "nohup", "parallel", "setsid",
    "source", "stdbuf", "su", "sudo", "time", "timeout", "toybox", "unshare", "watch", "xargs", ".",
}  # fmt: skip
"""Programs that run the commands they are given: what such a one runs is not read."""


class Match(IntEnum):
    """Whether a rule is about a request."""

    NO = 0
    UNSURE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class AskedPath:
    """A file that a tool is to work on."""

    lexical: str
    """Absolute, as the agent wrote it."""
    resolved: str | None
    """Without symbolic links; ``None`` where that could not be found out."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where relative patterns start."""

    lexical: str
    resolved: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent asks for."""

    agent: str
    tool: str
    """Empty where its program does not say."""
    known: bool
    """Whether it says what the tool is given."""
    script: Script | None = None
    """What a shell is to execute."""
    paths: tuple[AskedPath, ...] = ()
    workdir: Folder | None = None


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule, and whether it is about a request."""

    rule: ApprovalRule
    match: Match
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a request."""

    action: ApprovalAction | None
    """``None`` if no rule is about it: somebody decides."""
    rule: ApprovalRule | None
    considered: tuple[Considered, ...]
    """The rules down to the one that decided."""

    @property
    def why(self) -> str:
        """Why it is so, in one sentence."""
        if self.rule is None:
            return "no rule is about it"
        return f"rule {self.rule.name}: {self.considered[-1].why}"


def decide(rules: Iterable[ApprovalRule], asked: Asked) -> Verdict:
    """Find the first rule that is about a request."""
    considered: list[Considered] = []
    for rule in rules:
        match, why = _consider(rule, asked)
        considered.append(Considered(rule, match, why))
        if match is Match.YES:
            return Verdict(rule.action, rule, tuple(considered))
        if match is Match.UNSURE and rule.action is not ApprovalAction.ALLOW:
            return Verdict(ApprovalAction.ASK, rule, tuple(considered))
    return Verdict(None, None, tuple(considered))


def rules_of(rules: Iterable[ApprovalRule], agent: str) -> tuple[ApprovalRule, ...]:
    """Give the rules that hold for an agent, in order."""
    return tuple(rule for rule in rules if _is_of(rule, agent))


def _is_of(rule: ApprovalRule, agent: str) -> bool:
    if rule.declared is not None and agent.lower() not in rule.declared:
        return False
    return rule.agents is None or _any(rule.agents, agent)


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in patterns)


def _consider(rule: ApprovalRule, asked: Asked) -> tuple[Match, str]:
    if not _is_of(rule, asked.agent):
        return Match.NO, f"it is not for {asked.agent}"
    tool = Match.YES
    if rule.tools is not None:
        if not asked.tool:
            tool = Match.UNSURE
        elif not _any(rule.tools, asked.tool):
            return Match.NO, f"it is not for the tool {asked.tool}"
    given, why = _of_given(rule, asked)
    if given is Match.NO:
        return given, why
    if tool is Match.UNSURE:
        return Match.UNSURE, "the agent's program does not say which tool it is"
    return given, why


def _of_given(rule: ApprovalRule, asked: Asked) -> tuple[Match, str]:
    if not rule.commands and not rule.paths:
        return Match.YES, f"{rule.action} whatever the tool is given"
    if not asked.known:
        return Match.UNSURE, "the agent's program does not say what the tool is given"
    if asked.script is not None and rule.commands:
        wants_all = rule.action is ApprovalAction.ALLOW
        return (_all_commands if wants_all else _any_command)(rule.commands, asked.script)
    if asked.paths and rule.paths:
        wants_all = rule.action is ApprovalAction.ALLOW
        return (_all_paths if wants_all else _any_path)(rule.paths, asked.paths, asked.workdir)
    return Match.NO, f"it is for {'commands' if rule.commands else 'files'}"


# -- commands


def _all_commands(patterns: Sequence[str], script: Script) -> tuple[Match, str]:
    if script.doubt is not None:
        return Match.UNSURE, f"{script.doubt} is more than a plain command"
    if not script.commands:
        return Match.NO, "there is no command"
    for command in script.commands:
        if not any(_match_words(pattern, command, by_name=False) is Match.YES for pattern in patterns):
            return Match.NO, f"{shown(command)} is none of its commands"
    return Match.YES, "all its commands are allowed"


def _any_command(patterns: Sequence[str], script: Script) -> tuple[Match, str]:
    unsure = None if script.doubt is None else f"{script.doubt} may be one of its commands"
    for command in script.commands:
        found = max(_match_words(pattern, command, by_name=True) for pattern in patterns)
        if found is Match.YES:
            return Match.YES, f"{shown(command)} is one of its commands"
        first = command.words[0]
        if found is Match.UNSURE or (first is not None and _name(first) in _RUNNERS):
            unsure = unsure or f"{shown(command)} may run one of its commands"
    return (Match.NO, "none of its commands is in it") if unsure is None else (Match.UNSURE, unsure)


def _match_words(pattern: str, command: Command, *, by_name: bool) -> Match:
    """Compare a command with a pattern, word by word; a ``*`` at the end stands for any further words, too.

    Parameters
    ----------
    by_name
        Whether a program is meant wherever it lies.
    """
    wanted, words = pattern.split(), command.words
    open_end = wanted[-1].endswith("*")
    if len(wanted) > 1 and wanted[-1] == "*" and len(words) == len(wanted) - 1:
        wanted = wanted[:-1]
    if len(words) < len(wanted) or (len(words) > len(wanted) and not open_end):
        # A word that only the shell knows may be several, or none.
        return Match.UNSURE if None in words and by_name else Match.NO
    found = Match.YES
    for number, (part, word) in enumerate(zip(wanted, words, strict=False)):
        if word is None:
            found = Match.UNSURE
            continue
        names = {word, _name(word)} if by_name and number == 0 and "/" not in part else {word}
        if not any(fnmatchcase(name, part) for name in names):
            return Match.NO
    return found


def _name(program: str) -> str:
    return program.rpartition("/")[2]


def shown(command: Command) -> str:
    """Show a command in one line."""
    text = " ".join("…" if word is None else word for word in command.words)
    return f'"{" ".join(text.split())[:80]}"'


# -- files


def _all_paths(patterns: Sequence[str], paths: Sequence[AskedPath], workdir: Folder | None) -> tuple[Match, str]:
    for path in paths:
        if ".." in path.lexical.split("/"):
            return Match.UNSURE, f"{path.lexical} has .. in it"
        if not _path_matches(patterns, path.lexical, None if workdir is None else workdir.lexical):
            return Match.NO, f"{path.lexical} is none of its files"
        if path.resolved is None or (workdir is not None and workdir.resolved is None):
            return Match.UNSURE, f"what {path.lexical} leads to could not be found out"
        if not _path_matches(patterns, path.resolved, None if workdir is None else workdir.resolved):
            # Where to is not told: agentd may be root, and follow links that who reads this may not.
            return Match.NO, f"{path.lexical} is a link, or below one, to what is none of its files"
    return Match.YES, "all its files are allowed"


def _any_path(patterns: Sequence[str], paths: Sequence[AskedPath], workdir: Folder | None) -> tuple[Match, str]:
    for path in paths:
        places = [(os.path.normpath(path.lexical), None if workdir is None else workdir.lexical)]
        if path.resolved is not None:
            places.append((path.resolved, None if workdir is None else workdir.resolved))
        if any(_path_matches(patterns, place, folder) for place, folder in places):
            return Match.YES, f"{path.lexical} is one of its files"
        if path.resolved is None:
            return Match.UNSURE, f"what {path.lexical} leads to could not be found out"
    return Match.NO, "none of its files is in it"


def _path_matches(patterns: Iterable[str], path: str, workdir: str | None) -> bool:
    absolute = (pattern if pattern.startswith("/") else _below(workdir, pattern) for pattern in patterns)
    return any(pattern is not None and _regex(pattern).fullmatch(path) is not None for pattern in absolute)


def _below(workdir: str | None, pattern: str) -> str | None:
    if workdir is None:
        return None
    # A folder's name may have a * in it, which means itself.
    return f"{_LITERAL}{workdir.rstrip('/')}{_LITERAL}/{pattern.removeprefix('./')}"


_LITERAL: Final = "\0"
"""Around what is no pattern."""


def _regex(pattern: str) -> re.Pattern[str]:
    if pattern.startswith(_LITERAL):
        _, literal, pattern = pattern.split(_LITERAL, 2)
        return re.compile(re.escape(literal) + _translated(pattern), re.DOTALL)
    return re.compile(_translated(pattern), re.DOTALL)


_SIGNS: Final[Mapping[str, str]] = {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _translated(pattern: str) -> str:
    parts = re.split(r"(/\*\*(?=$)|(?<=/)\*\*/|^\*\*/|\*\*|\*|\?)", pattern)
    return "".join(_SIGNS.get(part, re.escape(part)) for part in parts)

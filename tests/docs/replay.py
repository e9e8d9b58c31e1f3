"""Types what README, the tutorial and the how-to pages show, as a new user would.

``python -m tests.docs.replay [PAGE …]`` writes anew what the commands print, where it is no longer what a page says.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.fleeting import FLEET, fleeting
from tests.docs.newcomer import DETACH, ROOT, Newcomer, Shown, newcomer
from tests.docs.scenes import INSTEAD, NOT_TYPED, SCENES

PAGES = tuple(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md")))
)
_HEADING_OR_BLOCK = re.compile(
    r"^#+ (?P<heading>[^\n]+)$|^```(?P<kind>\w*)\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HERE_DOCUMENT = re.compile(r"<< ?'(\w+)'")
_COMMENT = re.compile(r"\s+# .*$")
ELISION = ("…", "...")
"""A line that stands for any number of lines."""

# What goes on until a key is pressed, and what it shows before it takes keys, where that is not its answer.
_GOES_ON = (
    (re.compile(r"\battach\b"), "\x1b[?1049h", DETACH),
    (re.compile(r"\blogs .*-f\b|\bevents .*-f\b|--watch\b|\bcurl -sN"), "", b"\x03"),
    (re.compile(r"demo\.py"), "C-c here ends", b"\x03"),
    (re.compile(r"\| less\b"), "", b"q"),
    (re.compile(r"\bagentctl top\b"), "quit", b"q"),
)
# What only looks may look again until it sees what happens meanwhile.
_LOOKS = re.compile(
    r"(agentctl fleet (hosts|status)\b"
    r"|agentctl (status|events|logs|screen|list|plan|diff|worktrees list|snapshot --list|doctor|approvals)\b"
    r"|curl |jq |cat |ls |git -C)"
)
_LOOK_SECONDS = 20.0

# What a reader would call the same. Each rule names what it is for; nothing else may differ.
_VARIABLE: tuple[tuple[str, str], ...] = (
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"(?<!\S)([0-9a-f]{40}|[0-9a-f]{7})(?!\S)", "HASH"),
    (r"\b\d{8}T\d{6}\.\d+Z", "TIME"),
    (r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?Z?)?)?", "TIME"),
    (r"\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \w+ \d{4}|\b\w{3} [ \d]\d \d\d:\d\d\b|\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"agentd-demo-\w{8}", "agentd-demo-X"),
    (r"\b127\.0\.0\.1:\d{5}\b", "127.0.0.1:PORT"),
    (r"\b(\w*PORT=)\d{5}\b", r"\1PORT"),
    (r"\b(pid[= ]|(?:pane_)?pid\": ?)\d+", r"\1PID"),
    (r"(?m)^(\w+) \d+$", r"\1 PID"),  # what hire prints
    (r"\brunning for \S+,", "running for TIME,"),
    (r"(?m)^(\S+ +\S+ +(?:queued|ended) +)\d+s( +)\d+s( )", r"\1FOR\2AGE\3"),  # a row of the mailbox
    (r"(?m)^(\S+ +)\d+( +nothing)", r"\1PID\2"),  # what an upgrade would do
    (r"\bit would be \w+ late", "it would be LONG late"),
    (r"\b(restart|next run) in [\d.]+ ?m?s", r"\1 in TIME"),
    (r"\b((?:restart_in|ran|uptime|late)_seconds(?:=|\": ?))[\d.]+", r"\1TIME"),
    # A row of the status table: uptime and pid, or none; restarts and exit are held.
    (r"(?m)^(\S+ +[●◌↻✓✗⏱■·○]? ?[a-z_]+ +)\S+( +\d+ +\S+ +)\d+( )", r"\1UPTIME\2PID\3"),
    (r"\bdelivery=[0-9a-f]{24}\b", "delivery=ID"),
    # A row of a fleet's hosts: the cores and the memory of this machine, and the version.
    (r"(?m)^(\S+ +(?:ready|draining) +\d+ +\d+/\d+ +\d+)/\S+( +\S+)/\S+", r"\1/CPUS\2/MEMORY"),
    (r"(?m)^(\S+ +h\d +● running +[a-z]+ +)\S+( +\d+ +\S+ +)\d+( )", r"\1UPTIME\2PID\3"),  # of a fleet's agents
    (r"\bnothing for \d+s", "nothing for TIME"),
    (r"(\"pane\":)\"%\d+\"", r"\1PANE"),
    (r"\b(run\":\")[a-z0-9-]+", r"\1RUN"),
    (r"\"seq\":\d+|(?m:^\d+(?=\tTIME))|(?m:^id: \d+)", "SEQ"),
    (r"(_cpu_seconds_total\{.*\}|_memory_bytes\{.*\}) [\d.e+-]+", r"\1 N"),
    (r"(\"bytes\":)\d+", r"\1N"),
    (r"(?m)^([-dl]\S{9}) +\d+ \S+ +\S+ +\d+ ", r"\1 OWNER SIZE "),  # ls -l
    (r"(?m)^total \d+$", "total N"),
    # What doctor finds out about the machine, which no page can know: tests/cli holds these lines.
    (
        r"(?m)^. (?:python|tmux|recording|socket|user|state|terminals|files|watching|cgroups)\b.*\n(?: +→.*\n)*",
        "",
    ),
    (r"(?m)^\d+ warnings?, \d+ notes?$", "COUNTS"),
    (r"[ \t]+", " "),  # widths go with what stands in a column
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block, and what the page says it prints."""

    lines: tuple[str, ...]
    """As they stand, prompt included."""
    answer: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join((self.lines[0][2:], *self.lines[1:]))

    @property
    def name(self) -> str:
        """Without a comment at its end."""
        return _COMMENT.sub("", self.text)


def commands(block: str) -> Iterator[Command]:
    """The commands of a console block; the prompt is that of the first line, `$` a user's and `#` root's."""
    prompt = block[:2]
    assert prompt in ("$ ", "# "), f"a console block begins with a prompt, this one does not: {block!r}"
    rest = block.splitlines()
    while rest:
        typed = [rest.pop(0)]
        if here := _HERE_DOCUMENT.search(typed[0]):
            while typed[-1] != here[1]:
                typed.append(rest.pop(0))
        answer = []
        while rest and not rest[0].startswith(prompt):
            answer.append(rest.pop(0))
        yield Command(tuple(typed), tuple(answer))


def alike(text: str) -> list[str]:
    """The lines, with what varies by its name."""
    for pattern, word in _VARIABLE:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.rstrip().splitlines()]


def says(page: tuple[str, ...], shown: str) -> bool:
    """Whether what the page says is what was shown."""
    parts = [re.escape(line) for line in alike("\n".join(page))]
    wanted = "".join("(?:.*\n)*?" if part in map(re.escape, ELISION) else part + "\n" for part in parts)
    return re.fullmatch(wanted, "".join(line + "\n" for line in alike(shown))) is not None


def answered(who: Newcomer, page: str, command: Command, silent: bool) -> tuple[str, ...]:
    """What the page should say that this command prints; a block of commands alone promises status 0."""
    text = INSTEAD.get((page, command.name), command.text)
    sign, keys = next(((sign, keys) for pattern, sign, keys in _GOES_ON if pattern.search(text)), ("", b""))
    until = time.monotonic() + _LOOK_SECONDS

    def right(shown: str) -> bool:
        return bool(shown) if silent else says(command.answer, shown)

    while True:
        shown = who.type(text, keys, lambda text: (sign in text and right(text)) or time.monotonic() > until)
        good = bool(keys) or shown.status == 0 if silent else right(shown.text)
        if good:
            return command.answer
        if keys or not _LOOKS.match(text) or time.monotonic() > until:
            break
    return _written(shown)


def _written(shown: Shown) -> tuple[str, ...]:
    lines = [line.rstrip() for line in shown.text.splitlines()]
    return (*lines, *((f"[exit status {shown.status}]",) if shown.status and not lines else ()))


_TRUSTING = ("docs/tutorial.md", "docs/how-to/workspaces.md", "docs/how-to/worktrees.md")
"""Pages on which agentd makes folders and has a harness trust them, which is kept in the agents' home."""


def replayed(page: str, who: Newcomer) -> str:
    """The page with what its commands print now, where that differs."""
    if page in _TRUSTING:
        who.keep_agents_at_home()

    def part(match: re.Match[str]) -> str:
        if (title := match["heading"]) is not None:
            if scene := SCENES.get((page, title)):
                scene(who)
            return match[0]
        if match["kind"] != "console":
            return match[0]
        typed = list(commands(match["block"]))
        silent = not any(command.answer for command in typed)
        lines: list[str] = []
        for command in typed:
            held = (page, command.name) not in NOT_TYPED
            lines += [*command.lines, *(answered(who, page, command, silent) if held else command.answer)]
        return "```console\n" + "".join(line + "\n" for line in lines) + "```"

    return _HEADING_OR_BLOCK.sub(part, (ROOT / page).read_text())


def main() -> None:
    """Write the pages anew."""
    for page in sys.argv[1:] or PAGES:
        with fleeting() if page == FLEET else newcomer() as someone:
            text = replayed(page, someone)
        file = ROOT / page
        print(page, "is as it was" if text == file.read_text() else "was written anew")  # noqa: T201 (it reports on the terminal)
        file.write_text(text)


if __name__ == "__main__":
    main()

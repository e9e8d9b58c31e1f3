"""``agentctl help``."""

from __future__ import annotations

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status
from agentd.text.quoting import quote
from agentd.text.terminal import BOLD, Cell, lines

_DETAILS = """\
TOPIC is a topic or a command; without it, the topics are listed. --man prints a manual page for man -l."""

_EXAMPLES = """\
agentctl help
agentctl help getting-started
agentctl help send
agentctl help --man agentctl.1 | man -l -"""

MANUAL_PAGES = ("agentctl.1", "agentd.1")
"""All pages."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("help", _help, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help="a topic, or a command")
    parser.add_argument("--man", action="store_true", help="print a manual page: " + " or ".join(MANUAL_PAGES))


def _help(invocation: Invocation) -> Status:
    topic: str | None = invocation.arguments.topic
    if invocation.arguments.man:
        _say(invocation, topic or "agentctl.1", manual_page(topic or "agentctl.1"))
    elif topic is None:
        _list(invocation)
    else:
        _say(invocation, topic, _text(topic))
    return Status.DONE


def _say(invocation: Invocation, topic: str, text: str) -> None:
    if invocation.as_json:
        invocation.print_document({"topic": topic, "text": text})
    else:
        print(text.rstrip("\n"))


def manual_page(name: str) -> str:
    """Write a manual page.

    Raises
    ------
    CommandError
        If there is none of this name.
    """
    from agentd.cli.agentctl.entry import build_parser
    from agentd.cli.manual.pages import agentctl_page, agentd_page

    match name:
        case "agentctl.1":
            page = agentctl_page(build_parser())
        case "agentd.1":
            page = agentd_page()
        case _:
            raise CommandError(f"there is no manual page {quote(name)}: expected {' or '.join(MANUAL_PAGES)}")
    return "".join(f"{line}\n" for line in page)


def _list(invocation: Invocation) -> None:
    from agentd.cli.manual.topics import TOPICS

    rows = [[Cell(name, BOLD), Cell(topic.summary)] for name, topic in TOPICS.items()]
    shown = [*lines(("TOPIC", "WHAT IT EXPLAINS"), rows, invocation.display)]
    if invocation.display.table:
        shown += ["", "agentctl help TOPIC explains one; agentctl COMMAND --help explains a command"]
    invocation.print_result([{"topic": name, "summary": topic.summary} for name, topic in TOPICS.items()], shown)


def _text(topic: str) -> str:
    from difflib import get_close_matches

    from agentd.cli.agentctl.catalogue import SUMMARIES
    from agentd.cli.agentctl.entry import command_help
    from agentd.cli.manual.topics import TOPICS

    if topic in TOPICS:
        return TOPICS[topic].text()
    known = list(SUMMARIES)
    if topic in known:
        return command_help(topic)
    close = get_close_matches(topic, [*TOPICS, *known], n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else "agentctl help lists the topics"
    raise CommandError(f"there is no topic {quote(topic)}: {hint}")

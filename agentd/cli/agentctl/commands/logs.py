"""``agentctl logs``."""

from __future__ import annotations

import sys
from dataclasses import asdict

from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, add_fleet, add_name, whole_number

_DETAILS = """\
Prints the output of the agent's newest run, or of the run that --run names, as readable text: overwritten text is left
out, and a full-screen program is shown as it was at its end. --raw prints the original bytes, colours included. -f
follows the output until C-c, or until the agent ends for good: across restarts, unless --run or --previous selects a
run."""

_EXAMPLES = """\
agentctl logs reviewer-0
agentctl logs reviewer-0 -n 20
agentctl logs reviewer-0 --previous           # the run before the last restart
agentctl logs reviewer-0 --run 7 --raw | less -R
agentctl logs reviewer-0 -f | grep --line-buffered ERROR"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("logs", _logs, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="follow the output")
    parser.add_argument("-n", "--lines", metavar="N", type=whole_number, help="only the last N lines")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", dest="number", metavar="N", type=whole_number, help="the run of this number [newest]")
    which.add_argument("--previous", action="store_true", help="the run before the newest")
    parser.add_argument("--raw", action="store_true", help="the original bytes")
    add_fleet(parser)


def _logs(invocation: Invocation) -> Status:
    arguments = invocation.arguments
    if invocation.as_json and (arguments.follow or arguments.raw):
        flag = "-f never ends" if arguments.follow else "--raw is bytes"
        raise UsageError(f"{flag}, so it takes no --json; leave one of them out")
    from agentd.cli.agentctl.transcripts import Transcripts

    transcripts = Transcripts(invocation)
    run = transcripts.choose()
    if arguments.follow:
        from agentd.cli.agentctl.follow_log import follow_log

        follow_log(transcripts, run, invocation)
    elif arguments.raw:
        for data in transcripts.raw(run, arguments.lines):
            sys.stdout.buffer.write(data)
    else:
        lines = transcripts.lines(run, arguments.lines)
        if invocation.as_json:
            document = {"name": run.agent, "run": asdict(run), "lines": list(lines)}
            invocation.print_document(document)
        else:
            invocation.print(lines)
    return Status.DONE

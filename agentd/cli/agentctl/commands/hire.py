"""``agentctl init`` and ``agentctl hire``."""

from __future__ import annotations

from agentd.cli.agentctl.command import Commands, Invocation, Status, duration, not_empty

_LIMIT = 30.0

_INIT_DETAILS = """\
Makes a workspace: a folder with SOUL.md (who the agent is), AGENTS.md (how to work here; CLAUDE.md and GEMINI.md are
links to it), memory/memory.md and today's note in notes/. What is there already is never touched. A role is any name;
those with templates of their own come with agentd (engineer, reviewer, writer) or stand in
$XDG_CONFIG_HOME/agentd/roles/ROLE, whose files win. In a template {role}, {name} and {date} stand for what they say."""

_INIT_EXAMPLES = """\
agentctl init engineer
agentctl init reviewer --workspace ./review"""

_HIRE_DETAILS = """\
Makes the workspace of agentctl init, adds the agent ROLE_NAME to the jcard, with that workspace as its workdir and
restart = "always", waits until it runs, and prints its name and pid. Where the agent is declared already, nothing
changes. Says whether agentd had the harness trust that workspace, or else that the agent waits at such a question.
With a prompt it stays after its answer (mode = "interactive")."""

_HIRE_EXAMPLES = """\
agentctl hire engineer alice
agentctl hire reviewer bob --harness codex --prompt "Review what alice did"
agentctl hire engineer alice --json | jq .pid"""


def register(commands: Commands) -> None:
    """Add both commands."""
    init = commands.add("init", _init, details=_INIT_DETAILS, examples=_INIT_EXAMPLES)
    init.add_argument("role", metavar="ROLE", help="such as engineer")
    hire = commands.add("hire", _hire, details=_HIRE_DETAILS, examples=_HIRE_EXAMPLES)
    hire.add_argument("role", metavar="ROLE", help="such as engineer")
    hire.add_argument("name", metavar="NAME", type=not_empty, help="such as alice")
    for parser in (init, hire):
        parser.add_argument(
            "--workspace", metavar="DIR", type=not_empty, help="the folder [workspaces/ROLE[_NAME] in --data-dir]"
        )
    hire.add_argument("--harness", metavar="HARNESS", default="claude-code", help="the coding agent [claude-code]")
    hire.add_argument("--model", metavar="MODEL", help="the model it uses")
    prompt = hire.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="what it is asked to do first")
    prompt.add_argument("--prompt-file", metavar="FILE", help="a file with that")
    hire.add_argument(
        "--timeout", metavar="DURATION", type=duration, default=_LIMIT, help="how long to wait until it runs [30s]"
    )


def _init(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.hiring import Hiring
    from agentd.text.quoting import printable

    hiring = Hiring.of(invocation, None)
    made = hiring.make_workspace(must=True)
    if invocation.as_json:
        invocation.print_document({"role": hiring.role, "workspace": str(hiring.workspace), "made": made})
    else:
        folder = printable(str(hiring.workspace))
        invocation.print([f"made {folder}/{printable(name)}" for name in made] or [f"{folder} is there already"])
    return Status.DONE


def _hire(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.hiring import Hiring

    hiring = Hiring.of(invocation, invocation.name())
    result = hiring.hire(float(invocation.arguments.timeout))
    if invocation.as_json:
        invocation.print_document(result)
    else:
        invocation.print([f"{result['name']} {result['pid']}"])
    return Status.DONE

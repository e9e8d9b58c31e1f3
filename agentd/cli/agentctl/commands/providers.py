"""``agentctl inventory``, ``models``, ``smoke``, ``skills``, ``setup`` and ``lease``."""

from __future__ import annotations

from agentd.cli.agentctl.command import Commands, Invocation, Status, add_timeout, duration_argument, not_empty
from agentd.cli.agentctl.pooled import PooledError, print_pooled, run_pool
from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, Cell, lines

_INVENTORY_DETAILS = """\
Lists the providers of workers: each installed coding agent, and those of [[pool.providers]]; their programs, versions,
whether credentials were found (never which), what they can do, and the policies of [pool]. With --usage also what is
known of their accounts. preferences.md beside the jcard is shown to whoever decides."""

_SMOKE_DETAILS = """\
Spawns a worker of each installed provider in a repository made for that, waits for its answer, and ends it. Before them
it does so with a stand-in of its own, which is offline and needs no key: with --provider stand-in that alone is tried.
Exit status 1 if one fails, or nothing could be tried; providers whose program is not installed, or which a policy of
[pool] forbids, are skipped."""

_LEASE_DETAILS = """\
Says who works on which paths of a repository. Leases are advisory: nobody is kept from writing. A path is its real one,
without links and ..; readers share it, a writer has it alone, with what is below it. A lease ends with its owner, if
that is an agent, or when its time is over; without --ttl that of anybody else ends after an hour."""

_LEASE_EXAMPLES = """\
agentctl lease acquire src --mode write --repo . --owner build --ttl 10m
agentctl lease list --repo .
agentctl lease release src --repo . --owner build"""


def register(commands: Commands) -> None:
    """Add the commands."""
    inventory = commands.add(
        "inventory",
        _inventory,
        details=_INVENTORY_DETAILS,
        examples="agentctl inventory\nagentctl inventory --usage --json",
    )
    inventory.add_argument("--provider", metavar="P", type=not_empty, help="only this one")
    inventory.add_argument("--usage", action="store_true", help="with what is known of their accounts")
    models = commands.add("models", _models, examples="agentctl models --provider codex")
    models.add_argument("--provider", metavar="P", type=not_empty, help="only this one")
    smoke = commands.add("smoke", _smoke, details=_SMOKE_DETAILS, examples="agentctl smoke --provider stand-in")
    smoke.add_argument("--provider", metavar="P", type=not_empty, help="only this one")
    add_timeout(smoke, "how long each may take", 120.0)
    skills = commands.add("skills", _skills, examples="agentctl skills list\nagentctl skills get workers >SKILL.md")
    skills.add_argument("action", choices=("list", "get"), help="what to do")
    skills.add_argument("name", metavar="NAME", nargs="?", default="workers", help="of the skill [workers]")
    setup = commands.add("setup", _setup, examples="agentctl setup\nagentctl setup codex")
    setup.add_argument("provider", metavar="P", nargs="?", default="all", help="only this provider [all]")
    lease = commands.add("lease", _lease, details=_LEASE_DETAILS, examples=_LEASE_EXAMPLES)
    lease.add_argument("action", choices=("acquire", "list", "release"), help="what to do")
    lease.add_argument("path", metavar="PATH", nargs="?", help="what to work on")
    lease.add_argument("--mode", choices=("read", "write"), default="write", help="with others, or alone [write]")
    lease.add_argument("--ttl", metavar="D", type=duration_argument, help="how long, such as 10m")
    lease.add_argument("--repo", metavar="DIR", help="repository that the path is in [that of the path]")
    lease.add_argument("--owner", metavar="NAME", type=not_empty, help="who works on it [the agent that calls]")


def _inventory(invocation: Invocation) -> Status:
    from agentd.pool.inventory import inventory

    given = invocation.arguments
    found = run_pool(invocation, lambda pool: inventory(pool, given.provider, usage=given.usage))
    rows = [
        [
            Cell(each.id, BOLD),
            Cell("yes" if each.installed else "no"),
            Cell(printable(each.version or "")),
            Cell({True: "yes", False: "no", None: ""}[each.auth.present]),
            Cell("yes" if each.allowed else "no"),
            Cell("" if each.usage is None else "yes" if each.usage.usable else "no"),
            Cell(printable(each.note or "")),
        ]
        for each in found.providers
    ]
    heading = ("PROVIDER", "INSTALLED", "VERSION", "LOGIN", "ALLOWED", "USABLE", "NOTE")
    print_pooled(invocation, found, lines(heading, rows, invocation.display))
    return Status.DONE


def _models(invocation: Invocation) -> Status:
    from agentd.pool.inventory import models

    found = run_pool(invocation, lambda pool: models(pool, invocation.arguments.provider))
    rows = [
        [Cell(each.provider, BOLD), Cell(printable(model.id)), Cell(model.confidence), Cell(printable(model.source))]
        for each in found.providers
        for model in each.models
    ]
    print_pooled(invocation, found, lines(("PROVIDER", "MODEL", "CONFIDENCE", "SOURCE"), rows, invocation.display))
    for each in [] if invocation.as_json else found.providers:
        if each.note is not None:
            invocation.warn(f"{each.provider}: {each.note}")
    return Status.DONE


def _smoke(invocation: Invocation) -> Status:
    from agentd.pool.smoking import smoke

    given = invocation.arguments
    report = run_pool(invocation, lambda pool: smoke(pool, given.provider, given.timeout))
    rows = [
        [
            Cell(each.provider, BOLD),
            Cell("skipped" if each.skipped else "passed" if each.passed else "failed"),
            Cell(f"{each.seconds:.1f}"),
            Cell(printable(each.answer or each.error or "")),
        ]
        for each in report.results
    ]
    print_pooled(invocation, report, lines(("PROVIDER", "RESULT", "SECONDS", "ANSWER"), rows, invocation.display))
    return Status.DONE if report.passed else Status.FAILED


def _skills(invocation: Invocation) -> Status:
    from agentd.pool.errors import PoolError
    from agentd.pool.skills.skills import skill, skills

    given = invocation.arguments
    if given.action == "list":
        found = skills()
        print_pooled(invocation, found, [f"{each.name}: {each.description}" for each in found.skills])
        return Status.DONE
    try:
        wanted = skill(given.name)
    except PoolError as error:
        raise PooledError(error) from None
    print_pooled(invocation, wanted, (wanted.text or "").splitlines())
    return Status.DONE


def _setup(invocation: Invocation) -> Status:
    from agentd.pool.teaching import setup

    name = invocation.arguments.provider
    found = run_pool(invocation, lambda pool: setup(pool, None if name == "all" else name))
    shown = [
        f"[{'x' if step.done else ' '}] {f'{step.provider}: ' if step.provider else ''}{step.what}"
        + (f": {step.command}" if step.command else "")
        for step in found.steps
    ]
    print_pooled(invocation, found, shown)
    return Status.DONE


def _lease(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.command import UsageError
    from agentd.pool.leasing import acquire_lease, list_leases, release_lease

    given = invocation.arguments
    if given.action == "list":
        found = run_pool(invocation, lambda pool: list_leases(pool, given.repo))
        leases = found.leases
        rows = [
            [
                Cell(each.path, BOLD),
                Cell(each.mode),
                Cell(printable(each.owner)),
                Cell(each.expires_at or ""),
                Cell(each.repo),
            ]
            for each in leases
        ]
        print_pooled(invocation, found, lines(("PATH", "MODE", "OWNER", "UNTIL", "REPO"), rows, invocation.display))
        return Status.DONE
    if given.path is None:
        raise UsageError(f"lease {given.action}: expected the PATH; see agentctl lease --help")
    if given.action == "acquire":
        lease = run_pool(
            invocation,
            lambda pool: acquire_lease(pool, given.path, given.mode, repo=given.repo, owner=given.owner, ttl=given.ttl),
        )
        print_pooled(invocation, lease, [f"{lease.id}: {lease.owner} has {lease.path} for {lease.mode}"])
        return Status.DONE
    gone = run_pool(invocation, lambda pool: release_lease(pool, given.path, repo=given.repo, owner=given.owner))
    print_pooled(invocation, gone, [f"{each.id}: released" for each in gone.released])
    return Status.DONE

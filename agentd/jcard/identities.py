"""Check that the names and sessions of agents are unique, over all replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentd.jcard.checks import check_name
from agentd.jcard.declarations import Declaration, Identity
from agentd.jcard.findings import Findings
from agentd.text.quoting import quote


@dataclass(frozen=True, slots=True)
class _Claim:
    """The replica that a name or session belongs to."""

    declaration: Declaration
    identity: Identity


def check_identities(declarations: Sequence[Declaration], findings: Findings) -> None:
    """Check that names and sessions are unique over all replicas; one error a table."""
    names: dict[str, _Claim] = {}
    sessions: dict[str, _Claim] = {}
    for declaration in declarations:
        identities = list(declaration.identities())
        if identities and not _check_longest_name(declaration, identities, findings):
            continue
        name_clash = session_clash = False
        for identity in identities:
            claim = _Claim(declaration, identity)
            namesake = names.setdefault(identity.name.casefold(), claim)
            same_session = sessions.setdefault(identity.session, claim)
            if namesake is not claim:
                if not name_clash:
                    _report_name(claim, namesake, findings)
                name_clash = True
            elif same_session is not claim and not session_clash:
                _report_session(claim, same_session, findings)
                session_clash = True


def _check_longest_name(declaration: Declaration, identities: list[Identity], findings: Findings) -> bool:
    try:
        check_name(identities[-1].name)
    except ValueError as error:
        origin = "" if "name" in declaration.raw else "the name made from the harness; set name: "
        if len(identities) > 1:
            origin = f"the name of the last of {len(identities)} replicas: "
        declaration.error(findings, f"{origin}{error}", "name")
        return False
    return True


def _report_name(claim: _Claim, namesake: _Claim, findings: Findings) -> None:
    line, column = findings.position((*namesake.declaration.path, "name"))
    message = f"found {quote(claim.identity.name)}, which is already taken by the agent at line {line}, column {column}"
    if claim.identity.name != namesake.identity.name:
        message += f", {quote(namesake.identity.name)}: names must differ in more than case"
    if "name" not in claim.declaration.raw:
        message += "; set name to tell them apart"
    claim.declaration.error(findings, message, "name")


def _report_session(claim: _Claim, other: _Claim, findings: Findings) -> None:
    line, column = findings.position((*other.declaration.path, _session_source(other)))
    findings.error(
        (*claim.declaration.path, _session_source(claim)),
        f"found {quote(claim.identity.session)}, which is already the session of agent "
        f"{quote(other.identity.name)} at line {line}, column {column}; each agent needs its own",
        agent=claim.declaration.label,
        field="session",
    )


def _session_source(claim: _Claim) -> str:
    return "session" if "session" in claim.declaration.raw else "name"

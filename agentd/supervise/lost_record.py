"""What is assumed of a run whose record was removed."""

from __future__ import annotations

from dataclasses import replace

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import started_with
from agentd.supervise.desired import ENVIRONMENT_PART, SECRETS_PART, DesiredAgent
from agentd.supervise.life import Life


def assumed(life: Life, desired: DesiredAgent, process: ProcessIdentity | None) -> Life:
    """Take a run for what is declared now, except where its process' environment shows otherwise."""
    fingerprint = desired.fingerprint
    if fingerprint is not None and desired.launch is not None and process is not None:
        differs = None
        if not started_with(process.pid, desired.launch.environment):
            differs = SECRETS_PART if started_with(process.pid, desired.spec.env) else ENVIRONMENT_PART
        fingerprint = {part: each for part, each in fingerprint.items() if part != differs}
    life = replace(life, fingerprint=fingerprint, stop_keys=desired.stop_keys)
    if life.run is not None and life.run.ended is None:
        # Not of one that ended: what follows from its policy is decided when that is taken.
        life = replace(life, policy=desired.spec.policy)
    return life

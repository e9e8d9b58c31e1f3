"""From declared agents to what their launches would be, each worked out anew only where something changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentd.daemon.configuration import Reading
from agentd.daemon.port_ledger import PortLedger
from agentd.harness.base import Harness
from agentd.jcard.secrets import egress_secrets_for, secrets_for, unknown_secret
from agentd.model.capacity import Claims
from agentd.model.pool import NO_POLICIES, PoolDeclaration
from agentd.model.spec import AgentSpec
from agentd.supervise.claims import claims_of
from agentd.supervise.desired import DesiredAgent, resolve_launch, with_egress
from agentd.supervise.ports import no_port, with_ports
from agentd.supervise.worker_policies import bounded, is_worker, refusal


@dataclass(frozen=True, slots=True)
class _Resolved:
    spec: AgentSpec
    prompt: str | None
    input_error: str | None
    secrets: Mapping[str, str]
    egress: Mapping[str, str]
    desired: DesiredAgent


class Resolver:
    """Works out launches.

    Parameters
    ----------
    user
        Name of the user that agents run as.
    key
        Key of the digests in fingerprints.
    ports
        Gives agents their ports.
    """

    def __init__(self, harnesses: Mapping[str, Harness], user: str, key: bytes, ports: PortLedger) -> None:
        self._ports = ports
        self._harnesses = harnesses
        self._user = user
        self._key = key
        self._resolved: dict[str, _Resolved] = {}

    def resolve(
        self,
        specs: Sequence[AgentSpec],
        reading: Reading,
        pool: PoolDeclaration = NO_POLICIES,
        *,
        counted: bool = False,
    ) -> tuple[DesiredAgent, ...]:
        """Work out what each agent would be launched as; one that is as before is the same object as before.

        Parameters
        ----------
        counted
            Whether they claim something of what all share.
        """
        ports = self._ports.give(specs)
        self._resolved = {
            spec.name: self._claiming(
                self._resolve(with_ports(spec, ports.get(spec.name, {})), reading, pool),
                claims_of(spec, reading.repositories) if counted else None,
            )
            for spec in specs
        }
        return tuple(resolved.desired for resolved in self._resolved.values())

    @staticmethod
    def _claiming(resolved: _Resolved, claims: Claims | None) -> _Resolved:
        if resolved.desired.claims == claims:
            return resolved
        return replace(resolved, desired=replace(resolved.desired, claims=claims))

    def keys_of(self, harness: str) -> Sequence[str]:
        """Name the variables of a harness's keys, of which one is enough."""
        known = self._harnesses.get(harness)
        credentials = None if known is None else known.facts.credentials
        return () if credentials is None else credentials.variables

    def _takes_command(self, harness: str) -> bool:
        return self._harnesses[harness].takes_command

    def _resolve(self, spec: AgentSpec, reading: Reading, pool: PoolDeclaration) -> _Resolved:
        refused = None
        if is_worker(spec):
            spec, refused = bounded(spec, pool), refusal(spec, pool, self._takes_command)
        path = spec.prompt_file
        prompt = None if path is None else reading.prompts.get(path)
        error = None if path is None else reading.prompt_errors.get(path)
        error = (
            (None if refused is None else str(refused))
            or error
            or no_port(spec)
            or unknown_secret(spec, reading.secrets)
        )
        secrets, egress = secrets_for(spec, reading.secrets), egress_secrets_for(spec, reading.secrets)
        known = self._resolved.get(spec.name)
        if (
            known is not None
            and (known.prompt, known.input_error, known.secrets, known.egress) == (prompt, error, secrets, egress)
            and known.spec == spec
        ):
            return known
        desired = resolve_launch(
            spec,
            prompt=prompt,
            input_error=error,
            secrets=secrets,
            harness=self._harnesses[spec.harness],
            user=self._user,
            key=self._key,
        )
        return _Resolved(spec, prompt, error, secrets, egress, with_egress(desired, egress, self._key))

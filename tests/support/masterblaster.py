"""A jcard as masterblaster writes it for a guest: every field that it knows, unset texts as ``""``, tables indented."""

from __future__ import annotations

import json
from collections.abc import Mapping

_DEFAULTS: Mapping[str, object] = {
    "name": "",
    "harness": "",
    "prompt": "",
    "prompt_file": "",
    "workdir": "",
    "restart": "no",
    "max_restarts": 0,
    "timeout": "",
    "grace_period": "30s",
    "session": "",
    "replicas": 1,
}
"""In the order in which they are written; ``type`` stands before them, ``extra_packages`` only where there are any."""


def as_written(
    *agents: Mapping[str, object], shared: str = "/workspace", secrets: Mapping[str, str] | None = None
) -> str:
    """Write a jcard.

    Parameters
    ----------
    agents
        What is set of each agent; ``env`` may be a mapping.
    shared
        Where the one shared folder is mounted in the guest: the workdir of agents without one.
    secrets
        They stand in the jcard, too.
    """
    lines = ['mixtape = "opencode-mixtape:latest"', 'mixtape_digest = ""', 'name = "field"', ""]
    lines += ["[resources]", "  cpus = 2", '  memory = "4GiB"', '  disk = "20GiB"', ""]
    lines += ["[network]", '  mode = "nat"', ""]
    lines += ["[[shared]]", '  host = "/home/ada/src"', f"  guest = {json.dumps(shared)}", "  readonly = false", ""]
    lines += ["[secrets]", *(f"  {name} = {json.dumps(value)}" for name, value in (secrets or {}).items())]
    for agent in agents:
        fields = {"type": agent.get("type", "sandboxed"), **_DEFAULTS, "workdir": shared, **agent}
        env = fields.pop("env", {})
        lines += ["", "[[agents]]", *(f"  {name} = {json.dumps(value)}" for name, value in fields.items())]
        lines += ["  [agents.env]"]
        assert isinstance(env, Mapping)
        lines += [f"    {name} = {json.dumps(value)}" for name, value in env.items()]
    return "\n".join(lines) + "\n"

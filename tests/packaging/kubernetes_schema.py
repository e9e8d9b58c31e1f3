"""Takes from Kubernetes' own schema what the manifest needs.

Usage: ``python -m tests.packaging.kubernetes_schema DEFINITIONS``, the ``vN-local-strict/_definitions.json`` of
kubernetes-validate (PyPI, Apache 2.0), which has all versions of all kinds, 70 MB. What it says in words is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final, cast

SCHEMA: Final = Path(__file__).with_name("kubernetes-1.37.schema.json")
KINDS: Final = {
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "Secret": "io.k8s.api.core.v1.Secret",
    "Service": "io.k8s.api.core.v1.Service",
    "StatefulSet": "io.k8s.api.apps.v1.StatefulSet",
}
"""The definition of each kind of object in the manifest."""

_REFERENCE: Final = "#/$defs/"


def _taken(node: object, names: set[str]) -> object:
    """Give it without words, and note which definitions it names."""
    if isinstance(node, list):
        return [_taken(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        names.add(reference.removeprefix(_REFERENCE))
    return {
        key: _taken(value, names)
        for key, value in node.items()
        if not (key.startswith("x-kubernetes-") or (key == "description" and isinstance(value, str)))
    }


def taken(definitions: dict[str, object]) -> dict[str, object]:
    """Give the definitions of those kinds, and what they need."""
    found: dict[str, object] = {}
    missing = set(KINDS.values())
    while missing:
        name = missing.pop()
        names: set[str] = set()
        found[name] = _taken(definitions[name], names)
        missing |= names - found.keys()
    return found


def main() -> None:
    """Write the schema."""
    document = json.loads(Path(sys.argv[1]).read_text())
    made = {"$defs": taken(cast("dict[str, object]", document["$defs"]))}
    SCHEMA.write_text(json.dumps(made, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

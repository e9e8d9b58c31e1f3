"""Write what agentd needs at run time as a bill of materials (CycloneDX 1.5, JSON) to stdout, from the lock.

The same lock gives the same document; it holds no time and no machine. The libraries that write CycloneDX would be 33
packages to describe 20.

Usage: python -m scripts.sbom
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypedDict

import agentd
from scripts.locked import Locked, read_lock

ROOT = Path(__file__).parent.parent
PROJECT = "agentd"


class Edge(TypedDict):
    """What one component needs."""

    ref: str
    dependsOn: list[str]


Component = TypedDict("Component", {"type": str, "bom-ref": str, "name": str, "version": str, "purl": str})
"""The fields that every component has; a library has more."""


class Metadata(TypedDict):
    """What the bill is about."""

    component: Component


class Bill(TypedDict):
    """A CycloneDX document."""

    bomFormat: str
    specVersion: str
    serialNumber: str
    version: int
    metadata: Metadata
    components: list[Component]
    dependencies: list[Edge]


class Library(Component, total=False):
    """One package."""

    licenses: list[dict[str, dict[str, str]]]
    externalReferences: list[dict[str, object]]  # noqa: N815 (CycloneDX' name)
    properties: list[dict[str, str]]


def needed_at_run_time(packages: Sequence[Locked]) -> list[Locked]:
    """Leave out what only builds the project."""
    reached = {PROJECT}
    while more := {package.name for package in packages if package.needed_by & reached} - reached:
        reached |= more
    return [package for package in packages if package.name in reached]


def purl(name: str, version: str) -> str:
    """Name a package (package-url, type pypi)."""
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"


def licence(name: str) -> str | None:
    """The licence that the installed package states."""
    try:
        about = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return None
    stated = about.get("license_expression") or about.get("license")
    if isinstance(stated, str) and "\n" not in stated:
        return stated
    classifiers = [line.rpartition(" :: ")[2] for line in about.get("classifier", ()) if line.startswith("License")]
    return classifiers[0] if classifiers else None


def component(package: Locked) -> Component:
    """Describe one package."""
    reference = purl(package.name, package.version)
    described: Library = {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "purl": reference,
        "externalReferences": [
            {
                "type": "distribution",
                "url": reference,
                "comment": "each file of this version that may be installed",
                "hashes": [{"alg": "SHA-256", "content": content} for content in package.hashes],
            }
        ],
    }
    if stated := licence(package.name):
        described["licenses"] = [{"license": {"name": stated}}]
    if package.marker:
        described["properties"] = [{"name": "agentd:marker", "value": package.marker}]
    return described


def edges(packages: Collection[Locked]) -> list[Edge]:
    """Say what needs what; of a package with versions for different Pythons, each."""
    references = [(PROJECT, purl(PROJECT, agentd.__version__))]
    references += ((package.name, purl(package.name, package.version)) for package in packages)
    return [
        {
            "ref": reference,
            "dependsOn": sorted(purl(each.name, each.version) for each in packages if name in each.needed_by),
        }
        for name, reference in references
    ]


def document(lock: Path) -> Bill:
    """Build the whole document."""
    packages = needed_at_run_time(read_lock(lock))
    own = purl(PROJECT, agentd.__version__)
    components = [component(package) for package in packages]
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([own, components]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": PROJECT,
                "version": agentd.__version__,
                "purl": own,
            }
        },
        "components": components,
        "dependencies": edges(packages),
    }


if __name__ == "__main__":
    print(json.dumps(document(ROOT / "requirements/run.txt"), indent=1))

"""Names of packages: attributes of nixpkgs, and nothing that Nix or a shell would read as more."""

from __future__ import annotations

from typing import Final

PACKAGE: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,62}(\.[A-Za-z_][A-Za-z0-9_-]{0,62}){0,4}"
"""Such as ``ripgrep``, ``nodejs_22`` or ``python3Packages.numpy``."""

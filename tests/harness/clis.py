"""Which real agent CLIs the tests drive, where they are installed, and how: the program behind ``install-clis``.

Standard library only, and nothing else of this project: it runs before anything is set up.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("AGENTD_TEST_CLIS") or Path(__file__).resolve().parents[2] / ".cache" / "clis").absolute()
"""Where all of them are installed."""

OLDEST_NODE = 20
"""What the pinned versions ask for."""


@dataclass(frozen=True)
class Package:
    """One CLI from the npm registry.

    Its version is pinned, because npm otherwise picks one silently by what the installed node satisfies.
    """

    harness: str
    """The name of its harness."""
    package: str
    version: str
    binary: str

    @property
    def folder(self) -> Path:
        """Where it is installed, apart from the others."""
        return CACHE / f"{self.harness}-{self.version}"

    @property
    def program(self) -> Path:
        """What to run."""
        return self.folder / "node_modules" / ".bin" / self.binary

    @property
    def installed(self) -> bool:
        """Whether it can be run."""
        return os.access(self.program, os.X_OK)


PACKAGES = (
    Package("claude-code", "@anthropic-ai/claude-code", "2.1.197", "claude"),
    Package("codex", "@openai/codex", "0.169.0", "codex"),
    Package("gemini-cli", "@google/gemini-cli", "0.61.0", "gemini"),
    Package("opencode", "opencode-ai", "1.18.33", "opencode"),
)

NEWER_CLAUDE = Package("claude-code", "@anthropic-ai/claude-code", "2.1.328", "claude")
"""Speaks the newest revision of the Model Context Protocol, and finds tools by a search."""


class InstallError(Exception):
    """Why something could not be installed, and what to do."""


def find_npm() -> str:
    """Find npm, and see that node is new enough.

    Raises
    ------
    InstallError
        If either is missing or too old.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise InstallError(f"npm is not on PATH; install node {OLDEST_NODE} or newer, with npm, and run this again")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise InstallError(f"{node} is {version}; install node {OLDEST_NODE} or newer, and run this again")
    return npm


def install(npm: str, package: Package) -> None:
    """Install one CLI.

    Raises
    ------
    InstallError
        If npm fails, with what it said.
    """
    # The folder gets its name last, so that an interrupted installation never looks finished.
    partial = package.folder.with_name(f"{package.folder.name}.partial")
    for folder in (partial, package.folder):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir(parents=True)
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--fetch-retries=5"]
    done = subprocess.run(
        [npm, "install", "--prefix", str(partial), *options, f"{package.package}@{package.version}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"npm could not install {package.package}@{package.version}; it said:\n{done.stdout}")
    partial.rename(package.folder)


def say(text: str) -> None:
    """Print at once, into a pipe too: an installation takes a while."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Install what is asked for and missing."""
    names = [package.harness for package in PACKAGES]
    parser = argparse.ArgumentParser(
        prog="install-clis",
        description="Install the real agent CLIs that tests/harness/test_real_clis.py drives (1.4 GB), with npm, "
        f"into {CACHE} ($AGENTD_TEST_CLIS). What is there already is left alone.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(names)}")
    wanted = parser.parse_args().names or names
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(names)}")
    try:
        npm = find_npm()
        for package in (*PACKAGES, NEWER_CLAUDE):
            if package.harness not in wanted:
                continue
            what = f"{package.harness} {package.version}"
            if package.installed:
                say(f"{what}: already in {package.folder}")
                continue
            started = time.monotonic()
            install(npm, package)
            say(f"{what}: installed into {package.folder} in {time.monotonic() - started:.0f} s")
    except InstallError as error:
        sys.stderr.write(f"install-clis: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

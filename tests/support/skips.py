"""What a test run left out, in a few lines, each with the command that runs it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"-m days", 'tests/harness/install-clis && make test ARGS="-m days"'),
    (r"fetch-brokers", 'tests/gateway/fetch-brokers && make test ARGS="-m gateway"'),
    (r"-m fleet|there is no ray", "make fleet-test"),
    (r"network namespaces", "make fleet-test, as root outside of a container, with util-linux and iproute2"),
    (r"-m gateway", 'make test ARGS="-m gateway"'),
    (r"install-conformance", 'tests/mcp/install-conformance && make test ARGS="-m mcp"'),
    (r"-m mcp", 'make test ARGS="-m mcp"'),
    (r"-m browser|chromium", 'apt-get install chromium && make test ARGS="-m browser"'),
    (r"-m clis|install-clis", 'tests/harness/install-clis && make test ARGS="-m clis"'),
    (r"-m installs|fetch-pips", 'tests/packaging/fetch-pips && make test ARGS="-m installs"'),
    (r"-m gvisor|fetch-runsc", 'tests/sandbox/fetch-runsc && make test ARGS="-m gvisor"'),
    (r"-m crowd", 'make test WORKERS=0 ARGS="-m crowd"'),
    (r"-m program", 'make test ARGS="-m program"'),
    (r"-m thorough", 'make test ARGS="-m thorough"'),
    (r"-m pages", 'make test ARGS="-m pages"'),
    (r"AGENTD_TEST_TREE|debian-tree", "scripts/debian-tree DIR && AGENTD_TEST_TREE=DIR make test ARGS=tests/systemd"),
    (r"NIXPKGS_LIB|nix-instantiate", "apt-get install nix-bin && NIXPKGS_LIB=CHECKOUT make test ARGS=tests/packaging"),
    (r"pip 23\.0 runs on", 'make clean test PYTHON=python3.11 ARGS="-m installs"'),
    (r"schemathesis|make fuzz", "make fuzz"),
    (r"toml-test", "git clone https://github.com/toml-lang/toml-test .cache/toml-test && make test ARGS=tests/fuzz"),
    (r"there is no (git|curl|openssl)$|is made by (openssl)", r"apt-get install \1\2 && make test"),
    (r"there is no node", "apt-get install nodejs && make test ARGS=tests/sandbox"),
    (r"systemd-analyze", "apt-get install systemd && make test"),
    (r"unshare", "apt-get install util-linux && make test"),
    (r"\bman is not", "apt-get install man-db && make test"),
    (r"PyYAML", "make clean test"),
    (r"^(\{?[\w-]+\}?) is not installed", r"apt-get install \1 && make test"),
    (r"open files", "ulimit -n 20000 && make test"),
    (r"only (as )?root|not root|unless one is root|what root|tests as root", "sudo make test"),
    (
        r"^root (may|is)|^as root|logind made",
        "make test, as an ordinary user in a clone of theirs, without a login session",
    ),
    (r"no sandbox", "apt-get install bubblewrap && make test ARGS=tests/sandbox"),
    (r"mount|user namespace|control group|no controller", "make test, as root outside of a container"),
    (r"no user|may execute|cannot run|useradd", "make test, as root in a clone that all users may read"),
    (r"the others have a form|runs commands unasked|cannot fork", "nothing: it is about one coding agent alone"),
    (r"pidfds", "make test, on Linux"),
    (r"there are to be none", "make test, without AGENTD_TEST_START"),
)
"""Of a reason, by a part of it, the command that runs what was skipped."""


def command_for(reason: str) -> str | None:
    """The command that runs what was skipped for this reason."""
    for pattern, command in _COMMANDS:
        if found := re.search(pattern, reason):
            return found.expand(command)
    return None


def summary(reasons: Iterable[str]) -> list[str]:
    """One line for each command, the most tests first; a reason that has none stands for itself."""
    counts = Counter(command_for(reason) or reason for reason in reasons)
    return [f"{number:5} by  {command}" for command, number in counts.most_common()]

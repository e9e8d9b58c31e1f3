"""A git in the daemon's PATH that dies, hangs or refuses at a chosen step, and else is git."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import marked

_PROGRAM = """#!/usr/bin/env bash
# Stands in for git: once, for the command that was chosen, something goes wrong.
if [[ -e {chosen} ]]; then
	IFS=$'\\t' read -r words action step whom <{chosen}
	if [[ " $* " == *" $words "* ]] && mv {chosen} {taken} 2>/dev/null; then
		case $action in
		refuse)
			echo "fatal: out of luck" >&2
			exit 128
			;;
		late)
			[[ $whom == both ]] && kill -KILL $PPID
			sleep "$step"
			;;
		*)
			{strace} -f -qq -o /dev/null -e trace="{calls}" -e inject="{calls}":$action:when="$step" {git} "$@"
			status=$?
			# What git itself asks its users to do: nobody else can tell that a lock is nobody's.
			[[ $words == update-ref* ]] && find {repositories} -name '*.lock' -path '*.git/*refs*' -delete
			[[ $whom == both ]] && kill -KILL $PPID
			((status > 128)) && kill -KILL $$
			exit $status
			;;
		esac
	fi
fi
exec -a git {git} "$@"
"""
_CALLS = ",".join(
    f"?{name}"
    for name in (
        *("rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat"),
        *("mkdir", "mkdirat", "rmdir", "write"),
    )
)
"""System calls that change files."""

KILL, HOLD, REFUSE, LATE = "signal=SIGKILL", "delay_enter=2000000", "refuse", "late"


@dataclass(frozen=True, slots=True)
class GitFault:
    """What goes wrong with a git."""

    words: str
    """Of the command that it is told."""
    action: str
    """`KILL` it or `HOLD` it for 2 s at a step, let it `REFUSE`, or begin `LATE`."""
    step: float = 1
    """The so-manyeth call of the system that changes files; of one that begins late, seconds."""
    both: bool = False
    """Whether whoever started it is killed with it."""

    def __str__(self) -> str:
        """Name the kind, for the count."""
        return (
            f"git {self.words} {self.action.removeprefix('signal=').partition('=')[0]}{' with its parent' * self.both}"
        )


class FailingGit:
    """The stand-in, in a folder that comes first in the PATH."""

    def __init__(self, folder: Path, repositories: list[Path]) -> None:
        self._chosen, self._taken = folder / "git.fault", folder / "git.fault.taken"
        git, strace = shutil.which("git"), shutil.which("strace")
        assert git is not None
        program = self._program = folder / "git"
        program.write_text(
            _PROGRAM.format(
                chosen=self._chosen,
                taken=self._taken,
                git=git,
                # Where that is missing, the command is not found: as if git had failed before it did anything.
                strace=strace or "strace",
                calls=_CALLS,
                repositories=" ".join(map(str, repositories)),
            )
        )
        program.chmod(0o755)

    def arm(self, fault: GitFault) -> None:
        """Let the next git that is told these words suffer this."""
        part = self._chosen.with_suffix(".part")
        part.write_text("\t".join((fault.words, fault.action, f"{fault.step:g}", "both" if fault.both else "-")) + "\n")
        part.rename(self._chosen)

    @property
    def taken(self) -> bool:
        """Whether a git has suffered it, or is about to."""
        return self._taken.exists()

    @property
    def held(self) -> bool:
        """Whether one that is held or begins late is at work still."""
        return any(str(self._program) in process.argv for process in marked(str(self._program)))

    def disarm(self) -> None:
        """Let git be git."""
        self._chosen.unlink(missing_ok=True)
        self._taken.unlink(missing_ok=True)

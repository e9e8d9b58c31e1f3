"""Collect the problems of one jcard, each with its position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from agentd.jcard.positions import Path, Position, Positions
from agentd.jcard.problems import Problem, Severity


class Findings:
    """The problems of one file. The text is scanned for positions only if there is a problem."""

    def __init__(self, file: str, text: str) -> None:
        """Create an empty list; `text` must be valid TOML."""
        self._file = file
        self._text = text
        self._problems: list[Problem] = []

    def error(self, path: Path, message: str, *, agent: str | None = None, field: str | None = None) -> None:
        """Add a problem that makes the file unusable."""
        self._add(Severity.ERROR, path, message, agent, field)

    def warning(self, path: Path, message: str, *, agent: str | None = None, field: str | None = None) -> None:
        """Add a problem that does not."""
        self._add(Severity.WARNING, path, message, agent, field)

    def position(self, path: Path) -> Position:
        """Give the position of a key."""
        return self._positions.key(path)

    def apart(self) -> Findings:
        """Make an empty list for a part of the file that does not decide whether the rest of it counts."""
        return Findings(self._file, self._text)

    def tell(self, problems: Iterable[Problem], consequence: str) -> None:
        """Add problems of such a part: none of them makes the file unusable.

        Parameters
        ----------
        consequence
            What an error among them has for one.
        """
        for problem in problems:
            if problem.severity is Severity.ERROR:
                told = replace(problem, severity=Severity.WARNING, message=f"{problem.message}; {consequence}")
                self._problems.append(told)
            else:
                self._problems.append(problem)

    @property
    def has_errors(self) -> bool:
        """Whether the file is unusable."""
        return any(problem.severity is Severity.ERROR for problem in self._problems)

    def in_order(self) -> tuple[Problem, ...]:
        """Give all problems in the order of the file."""
        return tuple(sorted(self._problems, key=lambda problem: (problem.line or 0, problem.column or 0)))

    @cached_property
    def _positions(self) -> Positions:
        return Positions(self._text)

    def _add(self, severity: Severity, path: Path, message: str, agent: str | None, field: str | None) -> None:
        line, column = self.position(path)
        self._problems.append(Problem(severity, self._file, message, line, column, agent, field))

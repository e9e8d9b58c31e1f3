"""Collecting what is wrong with one jcard, each at its place in the text."""

from __future__ import annotations

from functools import cached_property

from agentd.jcard.positions import Path, Position, Positions
from agentd.jcard.problems import Problem, Severity


class Findings:
    """The problems of one file. The text is scanned for positions only once there is a problem."""

    def __init__(self, file: str, text: str) -> None:
        """Start without problems; `text` must be valid TOML."""
        self._file = file
        self._text = text
        self._problems: list[Problem] = []

    def error(self, path: Path, message: str, *, agent: str | None = None, field: str | None = None) -> None:
        """Add what makes the file unusable."""
        self._add(Severity.ERROR, path, message, agent, field)

    def warning(self, path: Path, message: str, *, agent: str | None = None, field: str | None = None) -> None:
        """Add what is merely suspicious."""
        self._add(Severity.WARNING, path, message, agent, field)

    def position(self, path: Path) -> Position:
        """Find a key of the file."""
        return self._positions.key(path)

    @property
    def has_errors(self) -> bool:
        """Whether the file is unusable."""
        return any(problem.severity is Severity.ERROR for problem in self._problems)

    def in_order(self) -> tuple[Problem, ...]:
        """Give all problems, as they stand in the file."""
        return tuple(sorted(self._problems, key=lambda problem: (problem.line or 0, problem.column or 0)))

    @cached_property
    def _positions(self) -> Positions:
        return Positions(self._text)

    def _add(self, severity: Severity, path: Path, message: str, agent: str | None, field: str | None) -> None:
        line, column = self.position(path)
        self._problems.append(Problem(severity, self._file, message, line, column, agent, field))

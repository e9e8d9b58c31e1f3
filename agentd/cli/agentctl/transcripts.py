"""The transcripts that the daemon keeps of one agent."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.agentctl.client import NOT_FOUND, ApiError, UnreachableError, views
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_path, unknown
from agentd.model.run_view import RunView
from agentd.text.quoting import printable

_BLOCK = 1 << 20
"""Bytes read at once, so that a waiting pager holds no connection open."""
_TAIL_FIRST = 256 * 1024
"""Bytes read from the end for the last lines; four times as many if those are too few."""


class Transcripts:
    """The transcripts of the agent that the command line names."""

    def __init__(self, invocation: Invocation) -> None:
        self.api = invocation.api
        self.name = invocation.name()
        self._invocation = invocation

    @property
    def may_move(self) -> bool:
        """Whether the agent is of a fleet, and may get another host."""
        return self._invocation.fleet

    def is_wished_for(self) -> bool:
        """Whether the fleet wishes for the agent, or does not say at the moment."""
        from agentd.cli.agentctl.fleet.between import is_wished_for

        return is_wished_for(self.api, self.name)

    def runs(self) -> list[RunView]:
        """List the runs that are kept, oldest first.

        Raises
        ------
        CommandError
            If there is no such agent.
        """
        try:
            return views(RunView, self.api.get(agent_path(self.name, "/runs")))
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise unknown(self.api, self.name) from None
            raise
        except UnreachableError:
            folder = self._invocation.settings.state_dir / "agents" / self.name / "runs"
            if folder.is_dir() and not self._invocation.fleet:
                self._invocation.warn(f"its transcripts are in {printable(str(folder))}")
            raise

    def choose(self) -> RunView:
        """Find the run that the command line names.

        Raises
        ------
        CommandError
            If it is not kept, or nothing is.
        """
        runs, arguments = self.runs(), self._invocation.arguments
        if not runs:
            raise CommandError(
                f"{printable(self.name)} has no transcript: it has not run yet, or agentd runs with --transcripts off; "
                f"agentctl screen {printable(self.name)} shows its terminal"
            )
        if arguments.number is not None:
            for run in runs:
                if run.run == arguments.number:
                    return run
            kept = f"runs {runs[0].run} to {runs[-1].run} are" if len(runs) > 1 else f"run {runs[0].run} is"
            raise CommandError(f"run {arguments.number} of {runs[-1].agent} is not kept; {kept}")
        if arguments.previous:
            if len(runs) == 1:
                raise CommandError(f"run {runs[0].run} is the only one of {runs[0].agent} that is kept")
            return runs[-2]
        return runs[-1]

    def path(self, run: RunView, **query: int) -> str:
        """Build the path of a run's output."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return f"{agent_path(run.agent, '/log')}?raw=1&run={run.run}&{parameters}"

    def read(self, run: RunView, start: int, end: int) -> Iterator[bytes]:
        """Read a run's output from the offset `start` up to `end`."""
        while start < end:
            data = self.api.read(self.path(run, offset=start, limit=min(_BLOCK, end - start)))
            if not data:
                return
            start += len(data)
            yield data

    def raw(self, run: RunView, lines: int | None) -> Iterator[bytes]:
        """Read a run's output, or its last lines, as bytes."""
        start = run.first_byte
        if lines is not None:
            with self.api.stream(self.path(run, tail=lines)) as stream:
                start = int(stream.headers.get("agentd-offset", start))
        return self.read(run, start, run.end_byte)

    def lines(self, run: RunView, count: int | None) -> Iterator[str]:
        """Give what a person would read, or the last `count` lines of it."""
        if count is None:
            yield from self._readable(run, run.first_byte)
        elif count:
            size = self._guess(count)
            while True:
                start = max(run.first_byte, run.end_byte - size)
                lines = list(self._readable(run, start))
                # The first lines may be the end of a line, or of a screen.
                if start == run.first_byte or len(lines) > count + run.rows:
                    break
                size *= 4
            yield from lines[-count:]

    def start_of(self, run: RunView, count: int) -> int:
        """Return an offset surely before the last `count` lines."""
        return max(run.first_byte, run.end_byte - 4 * self._guess(count))

    def _guess(self, count: int) -> int:
        return max(_TAIL_FIRST, count * 200)

    def _readable(self, run: RunView, start: int) -> Iterator[str]:
        from agentd.recording.transcripts.rendering import Rendering

        rendering = Rendering(run, start)
        for data in self.read(run, start, run.end_byte):
            yield from rendering.feed(data)
        yield from rendering.rest()

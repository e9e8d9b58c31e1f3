"""OpenCode's own server: asked with deadlines, and read within bounds, since the agent may be whoever it likes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from agentd.turns.adapter import TurnsError

_LIMIT: Final = 3.0
"""Seconds for an answer: while it starts, a request can hang for a minute, where the next is answered at once."""
_PATIENT: Final = 12.0
"""The same on a machine where all answers are late."""
_LONGEST_ANSWER: Final = 64 << 10
_LONGEST_LIST: Final = 16 << 20


class NoAnswerError(TurnsError):
    """The server has the request, as far as is known, and did not answer it."""


class TooLongError(TurnsError):
    """The answer is longer than is read."""


STATUS: Final = "/session/status"
"""Which conversations are at work, by their ids."""


class Door(Protocol):
    """How the server of one run is reached."""

    @property
    def witness(self) -> str:
        """Its name as a witness."""
        ...

    async def ready(self) -> None:
        """Wait until it makes sense to ask.

        Raises
        ------
        OSError
            If it does not now.
        """
        ...

    async def ask(
        self, method: str, path: str, document: Mapping[str, object] | None, limit: float, longest: int
    ) -> tuple[int, bytes]:
        """Ask, and give the status and the body of the answer.

        Parameters
        ----------
        document
            What is posted.
        limit
            Seconds for the answer.
        longest
            Bytes of an answer that is read.

        Raises
        ------
        NotNowError
            If nobody is there.
        NoAnswerError
            If it does not say whether it takes it.
        TooLongError
            If the answer is too long.
        """
        ...

    def events(self) -> AsyncIterator[Mapping[str, object]]:
        """Give events until the connection ends; the first is ``server.connected``.

        Raises
        ------
        OSError
            If it cannot be made, or is silent for too long.
        """
        ...

    async def close(self) -> None:
        """Ask nothing more."""
        ...


@dataclass(slots=True)
class Server:
    """The server of one run."""

    door: Door
    _limit: float = _LIMIT

    def be_patient(self, late: int) -> None:
        """Wait for longer for what is read, after a number of attempts in a row whose answer did not come in time.

        Not after those that nobody listened to yet: the first request to one that starts may be answered never, and
        would be waited for 12 s.
        """
        self._limit = min(_LIMIT * 2 ** min(late // 2, 8), _PATIENT)

    async def events(self) -> AsyncIterator[Mapping[str, object]]:
        """Give events until the connection ends.

        Something else is asked before: while it starts, a request for events may never be answered, and of ten of them
        OpenCode warns on its screen, over the input box.

        Raises
        ------
        OSError
            If it cannot be made, or is silent for too long.
        """
        await self.door.ready()
        await self.get(STATUS)
        async for event in self.door.events():
            yield event

    async def get(self, path: str) -> Mapping[str, object]:
        """Get a JSON object.

        Raises
        ------
        OSError
            If there is none.
        """
        found = await self._get(path, _LONGEST_ANSWER)
        if not isinstance(found, dict):
            raise OSError(f"{path} is no object")
        return found

    async def get_all(self, path: str) -> Sequence[Mapping[str, object]]:
        """Get the objects of a JSON array.

        Raises
        ------
        OSError
            If there is none, or it is too long.
        """
        found = await self._get(path, _LONGEST_LIST)
        if not isinstance(found, list):
            raise OSError(f"{path} is no array")
        return [each for each in found if isinstance(each, dict)]

    async def _get(self, path: str, longest: int) -> object:
        try:
            status, body = await self.door.ask("GET", path, None, self._limit, longest)
            if status == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(f"there is no {path}")
            found: object = json.loads(body) if status == HTTPStatus.OK else None
        except TurnsError as error:
            raise OSError(str(error)) from (error.__cause__ or error)
        except (ValueError, RecursionError) as error:
            raise OSError(str(error)) from error
        return found

    async def post(self, path: str, document: Mapping[str, object], limit: float = _LIMIT) -> Mapping[str, object]:
        """Post a document, and give the object that is answered, if it is one.

        Raises
        ------
        NotNowError
            If the server cannot be connected to.
        NoAnswerError
            If it does not say whether it takes it.
        TurnsError
            If it does not take it.
        """
        try:
            status, body = await self.door.ask("POST", path, document, limit, _LONGEST_ANSWER)
        except TooLongError:
            # It was taken.
            return {}
        said = body.decode("utf-8", "replace")
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise TurnsError(f"opencode answered with status {status}: {said[:200]}")
        return _object(said)


def _object(body: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(body or "null")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

"""How the socket of a fleet refuses."""

from __future__ import annotations


class FleetError(Exception):
    """A request is refused; the text says why.

    Parameters
    ----------
    status
        Of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

"""Which texts agents can be told: those that agentd takes."""

from __future__ import annotations

from agentd.gateway.model.errors import InvalidRequestError, TooLargeError
from agentd.text import messages
from agentd.text.messages import MessageError, message_of


def check_text(field: str, text: str) -> None:
    """Make sure that a text can be said to an agent.

    Raises
    ------
    TooLargeError
        If it is too large.
    InvalidRequestError
        If it is nothing, or no text.
    """
    try:
        message_of(text)
        if "\0" in text:
            raise MessageError
    except messages.TooLargeError as error:
        raise TooLargeError(f"{field}: {error}") from None
    except MessageError:
        raise InvalidRequestError(
            field, "expected text in UTF-8, without NUL, that is more than control characters"
        ) from None


def check_answer(field: str, text: str) -> None:
    """Make sure that a text, which may be empty, is not too large to answer an agent with.

    Raises
    ------
    TooLargeError
        If it is.
    """
    if len(text.encode()) > messages.LARGEST:
        raise TooLargeError(f"{field}: expected at most {messages.LARGEST} bytes")

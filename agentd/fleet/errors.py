"""What goes wrong between the parts of a fleet."""

from __future__ import annotations


class NoAnswerError(Exception):
    """Somebody does not answer; the text says who, and why."""


class UnknownHostError(Exception):
    """There is no host of that name."""


class HostAnswersError(Exception):
    """A host is there, though somebody says that it is not; the text says what to do."""


class HostTakenError(NoAnswerError):
    """Another host has the name, so this one gets no answer; the text says where that one is, and what to do."""

"""Write the unit: a packaged one with the paths filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is run as a service."""

    name: str
    flags: tuple[str, ...] = ()
    """Beside its paths."""

    @property
    def unit(self) -> str:
        """Name of its unit."""
        return f"{self.name}.service"


AGENTD = Program("agentd", ("--on-shutdown=keep",))
GATEWAY = Program("agentd-gateway")

_WRITTEN_BY = "# Written by agentctl service install; agentctl service uninstall removes it."

_USER_PATH = "# The PATH when this was written: where agents find their programs."


def packaged_unit(program: Program, *, user: bool) -> str:
    """Read the packaged unit, of a user's service or of the system's."""
    file = f"{program.name}-user.service" if user else program.unit
    return files(__package__).joinpath(file).read_text(encoding="utf-8")


def written_by_us(text: str) -> bool:
    """Whether `unit_text` wrote this unit."""
    return text.startswith(_WRITTEN_BY)


def unit_text(program: Program, command: Sequence[str], *, user: bool, environment: Mapping[str, str]) -> str:
    """Write the unit.

    Parameters
    ----------
    command
        The program and its flags.
    user
        Whether it is a user's service.
    environment
        Environment variables of the program.
    """
    # The first block explains how to install it by hand.
    _, _, text = packaged_unit(program, user=user).partition("\n\n")
    return "\n".join([_WRITTEN_BY, "", *_filled_in(text, command, environment), ""])


def _filled_in(text: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("ExecStart="):
            yield f"ExecStart={' '.join(map(quoted, command))}"
            if environment:
                yield _USER_PATH
            yield from (f"Environment={_quoted(f'{name}={value}')}" for name, value in environment.items())
        elif line.startswith("# Reads "):
            yield "# agentd --help says what the flags mean."
        else:
            yield line


def quoted(word: str) -> str:
    r"""Quote one word of a command line for systemd; source: systemd.service(5), COMMAND LINES.

    Examples
    --------
    >>> print(quoted("--config=/home/a b/50%"), quoted("$x"))
    "--config=/home/a b/50%%" "$$x"
    """
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """Quote one value; only in command lines a dollar sign has a meaning."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = escaped == word and word and not set(word) & set(" \t'\n;$")
    return word if plain else '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'

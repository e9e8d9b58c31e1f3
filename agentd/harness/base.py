"""The command line of a coding agent: the protocol `Harness`, and `CommandLineHarness`, which suits most of them.

A third party adds a harness without changing this project. One value in its package describes the command line::

    # acme_agentd.py
    from agentd.harness.base import CommandLineHarness, PromptForm, in_rounds, interrupts

    QWEN = CommandLineHarness(
        binary="qwen",
        oneshot=PromptForm(prompt=("--prompt={prompt}",)),
        interactive=PromptForm(prompt=("--prompt-interactive={prompt}",), stop_keys=in_rounds(interrupts(2))),
        model_flag="-m",
    )

and its ``pyproject.toml`` registers the value under the name that jcards give as ``harness``::

    [project.entry-points."agentd.harnesses"]
    qwen = "acme_agentd:QWEN"

The entry point may also name a class or function, which is called without arguments. The result must satisfy `Harness`;
a command line that `CommandLineHarness` cannot express needs a class of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from agentd.harness.trust import FolderTrust
from agentd.model.spec import Mode
from agentd.text.prompt_variables import PLACEHOLDER


class HarnessError(ValueError):
    """The harness cannot turn the settings into a command line; the message says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one run asks of a harness."""

    prompt: str = ""
    """Empty means interactive."""
    mode: Mode = Mode.AUTO
    model: str | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    read_only: bool = False
    """Whether it must not change files; a harness without such a mode runs as usual in the write-protected checkout."""

    @property
    def stays(self) -> bool:
        """Whether the program is asked to stay and take messages, whatever the harness's own way is."""
        return not self.prompt or self.mode is Mode.INTERACTIVE


@dataclass(frozen=True, slots=True)
class StopKey:
    """One key typed into the terminal to ask an agent to end."""

    key: str
    """In tmux's notation: ``C-c``, ``Escape``."""
    after: float = 0.0
    """Seconds after the stop began."""


def interrupts(times: int) -> tuple[StopKey, ...]:
    """Give C-c several times, 0.4 s apart.

    Parameters
    ----------
    times
        How often. One ends every one-shot run; an interactive program asks for another within about a second.
    """
    return tuple(StopKey("C-c", after=0.4 * number) for number in range(times))


def in_rounds(keys: tuple[StopKey, ...]) -> tuple[StopKey, ...]:
    """Give keys four times, every 3 s.

    A program that is still starting may lose keys: gemini lost one in four when they came as soon as its box appeared.

    Parameters
    ----------
    keys
        The keys of one round.
    """
    return tuple(StopKey(key.key, after=3.0 * number + key.after) for number in range(4) for key in keys)


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """A file in which a program keeps its credentials."""

    name: str
    folder: str
    """Relative to the home of the agents' user."""
    folder_variable: str | None = None
    """Environment variable that names another folder."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a program finds its credentials; any one of them is enough."""

    variables: tuple[str, ...]
    """Environment variables, the usual one first."""
    files: tuple[CredentialFile, ...] = ()


class Forks(StrEnum):
    """Whether a conversation can begin with what another one was up to a turn (`LaunchFacts.fork`)."""

    NO = "no"
    SAME_FOLDER = "same folder"
    """Only in the folder of the other one: it would work there wherever it is started."""
    ANYWHERE = "anywhere"


@dataclass(frozen=True, slots=True)
class HarnessFacts:
    """Facts for commands other than a launch: what the screen shows when ready, how to resume, and so on."""

    ready_marker: str | None = None
    """Text on the screen once the interactive program takes input."""
    empty_box: str | None = None
    """Regular expression for everything left of the cursor while the input box is empty."""
    unfinished: str | None = None
    """Regular expression for the end of a text after which Enter completes a word or breaks the line instead of
    submitting; a space after it prevents that."""
    interrupt_keys: tuple[StopKey, ...] = interrupts(1)
    """Keys that interrupt an interactive program's work without ending it."""
    credentials: Credentials | None = None
    """``None`` if they are unknown."""
    trust: FolderTrust | None = None
    """``None`` if it does not ask for trust in a folder."""
    machine_output: tuple[str, ...] = ()
    """Arguments that make a one-shot run print JSON, one event a line."""
    resume: tuple[str, ...] = ()
    """Arguments that resume a conversation, before its id."""
    forks: Forks = Forks.NO
    """How far its adapter can fork one."""
    read_only: tuple[str, ...] = ()
    """Arguments for its read-only or plan mode."""
    acp: tuple[str, ...] = ()
    """Arguments that make it speak the Agent Client Protocol, where conversations by program are better held that way
    than with its terminal program."""
    renderer: str | None = None
    """Package of agentd that runs the command line in the pane, and is its terminal; ``None`` if the program has one of
    its own."""


NO_FACTS = HarnessFacts()


@runtime_checkable
class Harness(Protocol):
    """A coding agent's command line; third parties register theirs in the entry point group ``agentd.harnesses``."""

    @property
    def binary(self) -> str:
        """Name of the program, looked up on the agent's PATH."""
        ...

    @property
    def takes_model(self) -> bool:
        """Whether the harness has a flag for the model."""
        ...

    @property
    def takes_command(self) -> bool:
        """Whether the jcard's ``command`` is the harness's command line."""
        ...

    @property
    def facts(self) -> HarnessFacts:
        """Facts for other commands."""
        ...

    def argv(self, request: Request) -> tuple[str, ...]:
        """Build the command line, program name first.

        Raises
        ------
        HarnessError
            If the request cannot be expressed.
        """
        ...

    def stop_keys(self, request: Request) -> tuple[StopKey, ...]:
        """Keys that ask a run of this request to end, in order of time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptForm:
    """How one mode of a command line passes its prompt: ``{prompt}``, alone or inside an argument."""

    prompt: tuple[str, ...]
    """The last arguments: after the model and the jcard's ``args``."""
    dashed: tuple[str, ...] | None = None
    """The same for a prompt that could be misread: see `closing`; ``None`` if ``prompt`` is safe."""
    commands: frozenset[str] = frozenset()
    """Subcommands that the program runs even in the form ``dashed``: such a prompt is refused."""
    misread: tuple[tuple[str, str], ...] = ()
    """Regular expressions for prompts that never reach the model in either form, and why: they are refused, too."""
    before: tuple[str, ...] = ()
    """The first arguments: a subcommand and its options."""
    stop_keys: tuple[StopKey, ...] = interrupts(1)

    def __post_init__(self) -> None:
        """Refuse a form without ``{prompt}``, which would drop the prompt."""
        for template in (self.prompt, self.dashed):
            if template is not None and not any(PLACEHOLDER in part for part in template):
                raise HarnessError(f"expected {PLACEHOLDER} in one of the last arguments, found {template}")

    def closing(self, prompt: str, args: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Give the last arguments for this prompt, behind the jcard's ``args``.

        A prompt that begins with ``-`` would be read as an option, one word as a subcommand, and any prompt as one more
        value of an option at the end of ``args`` that takes several (``--add-dir /tmp``). Which options and subcommands
        there are changes from version to version, so the form ``dashed`` is used wherever that is possible.

        Raises
        ------
        HarnessError
            If the program would run the prompt as a subcommand in either form, or take it for something else.
        """
        if prompt in self.commands:
            raise HarnessError(
                f'the prompt "{prompt}" is a subcommand, which would be run in its place; add a word to the prompt,'
                f' or choose mode = "{Mode.ONESHOT}"'
            )
        for pattern, why in self.misread:
            if re.fullmatch(pattern, prompt, re.DOTALL):
                raise HarnessError(f"the prompt would not reach the model: {why}; put a word in front of it")
        mistakable = bool(args) or prompt.startswith("-") or not any(map(str.isspace, prompt))
        # Behind a "--" of the jcard's own, another one would be the prompt.
        template = self.dashed if self.dashed is not None and mistakable and "--" not in args else self.prompt
        return tuple(part.replace(PLACEHOLDER, prompt) for part in template)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLineHarness:
    """A harness whose command lines are ``BINARY BEFORE [READ-ONLY] [MODEL-FLAG MODEL] ARGS PROMPT``, which most are.

    A run without a prompt is interactive, whatever the mode: the bare binary, with the model and ``args`` if set.
    """

    binary: str
    oneshot: PromptForm
    """Answers and exits."""
    interactive: PromptForm
    """Starts with the prompt and stays."""
    auto: PromptForm | None = None
    """What ``mode = "auto"`` means; ``None`` is ``oneshot``."""
    model_flag: str | None = None
    facts: HarnessFacts = NO_FACTS
    takes_command: bool = False
    """The harness itself is the command."""

    @property
    def takes_model(self) -> bool:
        """Whether there is a flag for the model."""
        return self.model_flag is not None

    def argv(self, request: Request) -> tuple[str, ...]:
        """Build the command line, program name first.

        Raises
        ------
        HarnessError
            If the request has a command, a model that there is no flag for, or a prompt that would be taken for
            something else.
        """
        if request.command:
            raise HarnessError(f"command is for the harness custom; {self.binary} takes args")
        protection = self.facts.read_only if request.read_only else ()
        options = (*protection, *self._model_options(request.model), *request.args)
        if not request.prompt:
            return (self.binary, *options)
        form = self._form(request.mode)
        return (self.binary, *form.before, *options, *form.closing(request.prompt, request.args))

    def stop_keys(self, request: Request) -> tuple[StopKey, ...]:
        """Keys that ask a run of this request to end, in order of time."""
        return (self._form(request.mode) if request.prompt else self.interactive).stop_keys

    def _form(self, mode: Mode) -> PromptForm:
        match mode:
            case Mode.ONESHOT:
                return self.oneshot
            case Mode.INTERACTIVE:
                return self.interactive
            case Mode.AUTO:
                return self.auto or self.oneshot

    def _model_options(self, model: str | None) -> tuple[str, ...]:
        if model is None:
            return ()
        if self.model_flag is None:
            raise HarnessError(f'{self.binary} has no flag for a model; remove model = "{model}"')
        return (self.model_flag, model)

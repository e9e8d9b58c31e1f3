"""Reading a jcard, its drop-ins and prompt files within a deadline: what does not answer is named, not waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from agentd.files.answering import NotAnsweringError, along, within
from agentd.jcard.drop_in_folder import DropIns, FoundFile, look_at_drop_ins
from agentd.jcard.drop_ins import SourceFile, TakenFile, drop_in_context, merge
from agentd.jcard.load import load_jcard
from agentd.jcard.prompts import PromptError, read_prompt
from agentd.model.spec import LoadContext
from agentd.settings.context import ConfigUnavailableError, read_config
from agentd.text.quoting import printable


def config_bytes(path: Path) -> bytes:
    """Read a jcard.

    Raises
    ------
    ConfigUnavailableError
        As `read_config`, and if it does not answer.
    """
    try:
        return within(path, lambda: read_config(path))
    except NotAnsweringError as error:
        raise ConfigUnavailableError(f"{path}: cannot be read: {error.strerror}") from None


def prompt_text(path: Path) -> str:
    """Read a prompt file.

    Raises
    ------
    PromptError
        As `read_prompt`, and if it does not answer.
    """
    try:
        return within(path, lambda: read_prompt(path))
    except NotAnsweringError as error:
        raise PromptError(f"prompt file {printable(str(path))}: {error.strerror}") from None


def drop_ins(folder: Path) -> DropIns:
    """Read the drop-ins of a folder; one that does not answer is among the unlisted."""
    try:
        return along(partial(look_at_drop_ins, folder, DropIns()))
    except NotAnsweringError as error:
        return DropIns(unlisted={folder: str(error.strerror)})


def jcard_file(config: Path, read: Callable[[Path], bytes] = config_bytes) -> FoundFile:
    """Read the jcard, as the first of the files that declare agents."""
    try:
        return FoundFile(config, None, read(config), None)
    except ConfigUnavailableError as error:
        return FoundFile(config, None, None, str(error).removeprefix(f"{config}: "))


def jcard_source(file: FoundFile, context: LoadContext) -> SourceFile:
    """Load the jcard."""
    loaded = None if file.data is None else load_jcard(file.data, str(file.path), context)
    return SourceFile(file.path, file.owner, loaded, file.unavailable)


def drop_in_source(file: FoundFile, context: LoadContext) -> SourceFile:
    """Load a drop-in; `context` is the jcard's."""
    return jcard_source(file, drop_in_context(context, file.path, file.owner))


def declared(config: Path, folder: Path, context: LoadContext) -> tuple[tuple[TakenFile, ...], DropIns]:
    """Read the jcard and its drop-ins and take them together, as a daemon does that starts now.

    Parameters
    ----------
    config
        The jcard, absolute.
    folder
        Of the drop-ins, absolute.
    context
        The jcard's.

    Returns
    -------
    What becomes of each file, the jcard first, and what was found in the folder.
    """
    found = drop_ins(folder)
    drop_ins_found = [file for file in found.files.values() if file.path != config]
    sources = [jcard_source(jcard_file(config), context), *(drop_in_source(file, context) for file in drop_ins_found)]
    return merge(sources), found

"""Prompts that a host's user may choose: for delegating work, and for reviewing it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

_DELEGATE: Final = """\
Hand this task to a worker, and stay in charge of it:

{task}

The repository is {repo}. Look at `inventory` and choose a provider that is installed and usable; name it, do not let \
chance choose. Give `spawn_worker` the task in full: the worker sees nothing of this conversation. Use isolation \
"worktree" where it changes files. Wait by `observe_workers` for completed, question, approval, error and exited; \
answer what it asks, or ask me where the answer is mine to give. Then `collect_work`, read the patch before you use \
it, and `terminate_worker`."""

_REVIEW: Final = """\
Have the work of {worker} reviewed by a worker that did not do it:

Collect it by `collect_work`. Spawn a reviewer with isolation "read_only" on the same repository, by another provider \
than the author's where one is usable. Its task: read the patch, name each fault with file, line and why, and say \
what was not looked at. Report what it found, what you make of it, and what is still open."""

PROMPTS: Final = (
    Prompt(
        name="delegate",
        description="Hand a task to a worker and see it through",
        arguments=[
            PromptArgument(name="task", description="What is to be done", required=True),
            PromptArgument(name="repo", description="The folder of the repository", required=True),
        ],
    ),
    Prompt(
        name="review",
        description="Have a worker's work reviewed by another one",
        arguments=[PromptArgument(name="worker", description="The worker's id", required=True)],
    ),
)

_TEXTS: Final = {"delegate": _DELEGATE, "review": _REVIEW}


def prompt(name: str, arguments: Mapping[str, str]) -> GetPromptResult:
    """Fill in a prompt.

    Raises
    ------
    MCPError
        If there is none of that name, or an argument is missing.
    """
    known = next((each for each in PROMPTS if each.name == name), None)
    if known is None:
        raise MCPError(INVALID_PARAMS, f"there is no prompt {name!r}: there are {', '.join(_TEXTS)}")
    wanted = [argument.name for argument in known.arguments or ()]
    if missing := [each for each in wanted if not arguments.get(each)]:
        raise MCPError(INVALID_PARAMS, f"the prompt {name!r} needs {', '.join(missing)}")
    text = _TEXTS[name].format_map({each: arguments[each] for each in wanted})
    return GetPromptResult(
        description=known.description, messages=[PromptMessage(role="user", content=TextContent(text=text))]
    )

"""Creates an agent's worktree or workspace before launch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.files.looks import Looks
from agentd.files.worker import in_thread
from agentd.harness.trust import TrustFile
from agentd.launch.preflight import PreflightError
from agentd.model.spec import WORKTREES, AgentSpec, Checkout
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError
from agentd.workspaces.roles import TemplateError, TemplateValues, daily_file, workspace_files
from agentd.workspaces.trust import TrustError, give_trust
from agentd.workspaces.workspace import WORKSPACES, WorkspaceError, make_workspace
from agentd.worktrees.ensure import ensure_worktree, needs_git
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import RecordError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_AT_ONCE: Final = 4
"""Worktrees that may be in the making at the same time; each keeps a disk and a core busy."""

_LOOK: Final = 0.02
"""Seconds between looks whether a folder in the making is still wanted."""

_GIVING_UP: Final = 5.0
"""Seconds that a folder in the making has to stop after it was given up; what it runs is killed after two."""

_CANNOT_MAKE = (GitError, RecordError, RunnerError, TemplateError, TrustError, WorkspaceError)


class WorkFolders:
    """Makes worktrees and workspaces in threads of its own: git may take minutes.

    Parameters
    ----------
    environ
        What git's environment is taken from.
    templates
        Folder with the operator's own templates of workspaces.
    data_dir
        Where worktrees and workspaces are.
    looks
        What finds out first whether the folders answer.
    claim
        Takes, in a thread, the right to make worktrees; raises `PreflightError` if another agentd has it.
    open_files
        As for `Runner`.
    """

    def __init__(
        self,
        user: AgentUser,
        environ: Mapping[str, str],
        templates: Path,
        data_dir: Path,
        looks: Looks,
        claim: Callable[[asyncio.AbstractEventLoop], None],
        open_files: int | None = None,
    ) -> None:
        self._user = user
        self._environ = dict(environ)
        self._templates = templates
        self._data_dir = data_dir
        self._looks = looks
        self._claim = claim
        self._open_files = open_files
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._repositories: dict[Path, asyncio.Lock] = {}

    async def make(self, spec: AgentSpec, today: date, now: float, shell: int | None = None) -> None:
        """Make what the agent works in, as far as it is missing; ended when cancelled.

        Raises
        ------
        PreflightError
            If it cannot be made; the text says why.
        """
        await self._check_answering(spec)
        runner = Runner(self._user, self._environ, self._open_files)
        if spec.role is not None:
            await self._in_thread(runner, lambda: self._make_workspace(runner, spec, today))
        checkout = spec.checkout
        if checkout is None or not await self._in_thread(runner, lambda: needs_git(checkout)):
            return
        loop = asyncio.get_running_loop()
        await self._in_thread(runner, lambda: self._claim(loop))
        log.debug("agent_worktree", agent=spec.name, repo=str(checkout.repo), path=str(checkout.path))
        # git locks single refs, not what two of it do to one repository's list of worktrees.
        async with self._repositories.setdefault(checkout.repo, asyncio.Lock()):
            await self._in_thread(runner, lambda: _make_worktree(runner, checkout, spec.name, now, shell))

    async def trust(self, spec: AgentSpec, file: TrustFile, path: Path, inside: Path | None = None) -> Path | None:
        """Have a harness trust the folder that was made for an agent, and none that was there.

        Parameters
        ----------
        file, path
            How and where the harness keeps that.
        inside
            The folder that the file must be in: a sandboxed agent's home, where that agent may have put links.

        Returns
        -------
        The folder, if trust was given now.

        Raises
        ------
        PreflightError
            If it cannot be given.
        """
        if spec.checkout is not None:
            folder, place = spec.checkout.path, self._data_dir / WORKTREES
        elif spec.role is not None:
            folder, place = spec.workdir, self._data_dir / WORKSPACES
        else:
            return None
        if folder.parent != place:
            return None
        for each, answer in (await self._looks.each([folder, path], os.path.realpath)).items():
            if isinstance(answer, NotAnsweringError):
                raise PreflightError(f"{answer.strerror}: it is on the way to {each}")
            if each == path and inside is not None and not Path(answer).is_relative_to(inside):
                raise PreflightError(f"{path} leads out of the agent's home, to {answer}: remove that link")
        runner = Runner(self._user, self._environ, self._open_files)
        return await self._in_thread(runner, lambda: _trust(runner, file, path, folder))

    def _make_workspace(self, runner: Runner, spec: AgentSpec, today: date) -> None:
        assert spec.role is not None
        values = TemplateValues(spec.role, spec.name, today)
        # A workspace that is there may have been changed on purpose: only the note of the day is due.
        write = daily_file if spec.workdir.exists() else workspace_files
        made = make_workspace(runner, spec.workdir, write(values, self._templates))
        if made:
            log.info("agent_workspace", agent=spec.name, path=str(spec.workdir), made=made)

    async def _check_answering(self, spec: AgentSpec) -> None:
        """Find out whether what will be touched answers: git would wait for it without a word."""
        paths = [] if spec.role is None else [spec.workdir, self._templates]
        paths += [] if spec.checkout is None else [spec.checkout.repo, spec.checkout.path]
        for path, answer in (await self._looks.each(paths, lambda _path: None)).items():
            if isinstance(answer, NotAnsweringError):
                raise PreflightError(f"{answer.strerror}: it is on the way to {path}; mount it again, or unmount it")

    async def _in_thread(self, runner: Runner, work: Callable[[], _T]) -> _T:
        async with self._turns:
            future = in_thread("work folder", work)
            try:
                return await asyncio.shield(future)
            except _CANNOT_MAKE as error:
                raise PreflightError(str(error)) from error
            except asyncio.CancelledError:
                runner.cancel()
                await asyncio.wait([future], timeout=_GIVING_UP)
                if not future.done():
                    log.warning(
                        "agent_folder_stuck", reason="the file system does not answer; it is waited for no more"
                    )
                elif not future.cancelled() and (ended := future.exception()) is not None:
                    log.debug("agent_folder_given_up", reason=str(ended))
                raise


def _trust(runner: Runner, file: TrustFile, path: Path, folder: Path) -> Path | None:
    real = Path(os.path.realpath(folder))
    # A link in its place leads to a folder of somebody's own.
    if real != Path(os.path.realpath(folder.parent)) / folder.name:
        return None
    return real if give_trust(runner, file, path, real) else None


def _make_worktree(runner: Runner, checkout: Checkout, agent: str, now: float, shell: int | None) -> None:
    ensure_worktree(Git(runner, checkout.repo), checkout, agent, now, shell)


async def folders_ready(
    folders: WorkFolders,
    spec: AgentSpec,
    wanted: Callable[[], bool],
    today: date,
    now: float,
    shell: int | None,
) -> bool:
    """Make what an agent works in before its launch; `shell` is what its former run left in its pane.

    Returns
    -------
    Whether it is there; ``False`` if it was given up because `wanted` no longer holds.

    Raises
    ------
    PreflightError
        If it cannot be made.
    """
    if spec.checkout is None and spec.role is None:
        return True
    task = asyncio.create_task(folders.make(spec, today, now, shell), name=f"folder of {spec.name}")
    return await while_wanted(task, wanted)


async def while_wanted(task: asyncio.Task[_T], wanted: Callable[[], bool]) -> bool:
    """Wait for a task; whether it came to its end before `wanted` no longer held, which ends it.

    Raises
    ------
    PreflightError
        If that is how it ended.
    """
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK)
            if not wanted():
                return False
        task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
    return wanted()

"""Who may enter a folder: by permission bits as the kernel reads them, supplementary groups and all, in every place."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.cli.agentctl.doctor.finding import Finding
from agentd.cli.agentctl.doctor.places import check_ways
from agentd.files.permissions import closed_folder
from agentd.model.user import AgentUser
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.retention import Retention

USER = AgentUser("agent", 12345, 12346, (12346, 23456), Path("/"), "/bin/sh", switch=True)
"""Nobody on this machine, in a supplementary group."""
OWNERS = [(0, 0), (USER.uid, 0), (0, USER.gid), (0, 23456), (USER.uid, 23456)]


@pytest.fixture
def place(short_folder: Path) -> Iterator[Path]:
    """A folder of root's that everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    place = Path("/run") / short_folder.parent.name
    place.mkdir()
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def make(folder: Path, mode: int, owner: int, group: int) -> Path:
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)
    return folder


def test_it_is_what_the_kernel_says(place: Path) -> None:
    modes = (0o700, 0o750, 0o701, 0o070, 0o710, 0o607, 0o671, 0o000)
    folders = [
        make(place / str(number), mode, *owners)
        for number, (mode, owners) in enumerate(itertools.product(modes, OWNERS))
    ]
    script = 'for each; do if cd -- "$each" 2>/dev/null; then echo yes; else echo no; fi; done'
    answers = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *folders],
        user=USER.uid, group=USER.gid, extra_groups=USER.groups, cwd="/", check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert answers == ["yes" if closed_folder(folder, USER) is None else "no" for folder in folders]
    assert set(answers) == {"yes", "no"}


@pytest.mark.parametrize(("owner", "group"), OWNERS[1:])
def test_transcripts_are_kept_in_a_folder_that_only_owner_and_group_may_enter(
    place: Path, owner: int, group: int
) -> None:
    state = make(place / "private", 0o750, owner, group) / "state"
    TranscriptDisk(TranscriptFiles(state, USER), Retention.of(1 << 30)).prepare()
    # What is closed to others needs no opening where the group may enter.
    assert not list(check_ways(USER, state, state))


def test_the_state_directory_is_opened_to_others_only_where_that_is_needed(place: Path) -> None:
    for group, mode in ((23456, 0o750), (0, 0o751)):
        state = make(place / str(group), 0o750, 0, group)
        TranscriptFiles(state, USER).prepare()
        assert state.stat().st_mode & 0o777 == mode


def test_a_folder_that_keeps_the_user_out_is_named_by_recording_and_doctor(place: Path) -> None:
    closed = make(place / "closed", 0o750, 0, 0)
    state = closed / "state"
    with pytest.raises(PermissionError, match="may not enter it") as refused:
        TranscriptDisk(TranscriptFiles(state, USER), Retention.of(1 << 30)).prepare()
    assert refused.value.filename == str(closed)
    findings: list[Finding] = list(check_ways(USER, state, state))
    assert [str(closed) in finding.text for finding in findings] == [True, True]

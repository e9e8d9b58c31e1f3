from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.settings import folders as module
from agentd.settings.flags import OPTIONS, LogFormat, OnShutdown, Option
from agentd.settings.folders import SOCKET_PATH_LIMIT, SettingsError
from agentd.settings.settings import Settings, resolve_settings

HOME = {"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/1000"}


def test_the_defaults_of_root_are_the_documented_ones() -> None:
    assert resolve_settings({}, {}, root=True) == Settings(
        config=Path("/etc/stereos/jcard.toml"),
        config_dir=Path("/etc/stereos/jcard.d"),
        secret_dir=Path("/run/stereos/secrets"),
        tmux_socket=Path("/run/agentd/tmux.sock"),
        api_socket=Path("/run/stereos/agentd.sock"),
        state_dir=Path("/var/lib/agentd"),
        data_dir=None,
        agent_user=None,
        admin_group=None,
        transcripts=2 * 1024**3,
        interval=5.0,
        launch_concurrency=50,
        on_shutdown=OnShutdown.STOP,
        log_format=None,
        debug=False,
    )


@pytest.mark.parametrize(
    ("config", "folder"),
    [("/x/jcard.toml", "/x/jcard.d"), ("/x/team.card.toml", "/x/team.card.d"), ("/x/agents", "/x/agents.d")],
)
def test_drop_ins_lie_beside_the_jcard(config: str, folder: str) -> None:
    assert resolve_settings({"config": config}, {}, root=True).config_dir == Path(folder)


def test_the_folder_of_drop_ins_can_be_named() -> None:
    environ = {"AGENTD_CONFIG_DIR": "/env.d"}
    assert resolve_settings({}, environ, root=True).config_dir == Path("/env.d")
    assert resolve_settings({"config_dir": "/flag.d"}, environ, root=True).config_dir == Path("/flag.d")


def test_the_defaults_of_a_user_lie_in_the_xdg_folders() -> None:
    environ = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}
    settings = resolve_settings({}, environ, root=False)
    assert [settings.config, settings.secret_dir] == [Path("/c/agentd/jcard.toml"), Path("/c/agentd/secrets")]
    assert [settings.tmux_socket, settings.api_socket] == [Path("/r/agentd/tmux.sock"), Path("/r/agentd/agentd.sock")]
    assert settings.state_dir == Path("/s/agentd")


def test_without_xdg_variables_the_folders_lie_in_the_home() -> None:
    settings = resolve_settings({}, HOME, root=False)
    assert settings.config == Path("/home/ada/.config/agentd/jcard.toml")
    assert settings.state_dir == Path("/home/ada/.local/state/agentd")


def test_a_relative_xdg_variable_is_ignored() -> None:
    assert resolve_settings({}, {**HOME, "XDG_CONFIG_HOME": "x"}, root=False).config.is_relative_to("/home/ada/.config")


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.environment], ids=lambda option: option.field
)
def test_a_flag_wins_over_the_environment_and_that_over_the_default(option: Option) -> None:
    assert option.environment is not None
    environ = {**HOME, option.environment: "/from/environment"}
    default = getattr(resolve_settings({}, HOME, root=False), option.field)
    assert str(getattr(resolve_settings({}, environ, root=False), option.field)) == "/from/environment"
    assert str(getattr(resolve_settings({option.field: "/flag"}, environ, root=False), option.field)) == "/flag"
    assert getattr(resolve_settings({}, {**HOME, option.environment: ""}, root=False), option.field) == default


def test_paths_are_made_absolute_from_here_and_from_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = resolve_settings({"config": "a/../b.toml", "state_dir": "~/state", "secret_dir": "~"}, HOME, root=False)
    assert settings.config == tmp_path / "b.toml"
    assert settings.state_dir == Path("/home/ada/state")
    assert settings.secret_dir == Path("/home/ada")


def test_an_empty_flag_is_an_error() -> None:
    with pytest.raises(SettingsError, match="--config: expected a value"):
        resolve_settings({"config": ""}, HOME, root=False)


@pytest.mark.parametrize(
    ("flags", "environ", "named"),
    [
        ({"tmux_socket": "/" + "x" * SOCKET_PATH_LIMIT}, {}, "--tmux-socket"),
        ({}, {"AGENTD_API_SOCKET": "/" + "ü" * 54}, "AGENTD_API_SOCKET"),
        ({}, {"XDG_RUNTIME_DIR": "/" + "r" * 100}, "--tmux-socket"),
    ],
)
def test_a_socket_path_over_the_limit_names_where_it_comes_from(
    flags: dict[str, str], environ: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{named}: .* at most 107 bytes, .* has \d{{3}}"):
        resolve_settings(flags, {**HOME, **environ}, root=False)


def test_a_socket_path_at_the_limit_is_taken() -> None:
    path = "/" + "x" * (SOCKET_PATH_LIMIT - 1)
    assert resolve_settings({"api_socket": path}, HOME, root=False).api_socket == Path(path)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("interval", "1m30s", 90.0),
        ("interval", "100ms", 0.1),
        ("launch_concurrency", "1", 1),
        ("transcripts", "off", None),
        ("transcripts", "500MB", 500_000_000),
        ("transcripts", "1MiB", 1 << 20),
    ],
)
def test_numbers_are_read(field: str, text: str, expected: float) -> None:
    assert getattr(resolve_settings({field: text}, HOME, root=False), field) == expected


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("interval", "5", 'write "5s"'),
        ("transcripts", "2G", 'did you mean "2GiB"'),
        ("transcripts", "on", "or off"),
        ("transcripts", "1023KiB", "at least 1MiB or off"),
        ("interval", "99ms", "at least 100ms"),
        ("interval", "-5s", "negative"),
        ("launch_concurrency", "0", "from 1"),
        ("launch_concurrency", "+1", "from 1"),
        ("launch_concurrency", "1_0", "from 1"),
        ("launch_concurrency", "٣", "from 1"),
        ("launch_concurrency", "9" * 5000, "from 1"),
        ("on_shutdown", "pause", "stop or keep"),
        ("log_format", "xml", "console or json"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_the_flag(field: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^--{field.replace('_', '-')}: .*{message}"):
        resolve_settings({field: text}, HOME, root=False)


def test_choices_are_read() -> None:
    settings = resolve_settings({"on_shutdown": "keep", "log_format": "json"}, HOME, root=False, debug=True)
    assert (settings.on_shutdown, settings.log_format, settings.debug) == (OnShutdown.KEEP, LogFormat.JSON, True)


def test_the_runtime_folder_falls_back_to_logind_and_then_to_a_private_temporary_one(tmp_path: Path) -> None:
    logind = Path(f"/run/user/{os.geteuid()}")
    found = module.runtime_folder({"TMPDIR": str(tmp_path)})
    private = logind.is_dir() and logind.stat().st_uid == os.geteuid() and not logind.stat().st_mode & 0o077
    assert found == (logind if private else tmp_path / f"agentd-{os.geteuid()}")


@pytest.mark.skipif(
    Path(f"/run/user/{os.geteuid()}").exists(), reason="logind made a runtime folder, which comes first"
)
@pytest.mark.parametrize("kind", ["open", "readable", "file", "link", "dangling", "fifo", "a stranger's"])
def test_a_temporary_folder_that_others_could_have_made_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / f"agentd-{os.geteuid()}"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o770)
    elif kind == "readable":
        folder.mkdir()
        folder.chmod(0o704)
    elif kind == "a stranger's":
        if os.geteuid() != 0:
            pytest.skip("only root can make a folder of somebody else's")
        folder.mkdir(0o700)
        os.chown(folder, 65534, 65534)
    elif kind == "file":
        folder.touch(0o600)
    elif kind == "fifo":
        os.mkfifo(folder, 0o600)
    elif kind == "dangling":
        folder.symlink_to("nowhere")
    else:
        (tmp_path / "elsewhere").mkdir(0o700)
        folder.symlink_to("elsewhere")
    with pytest.raises(SettingsError, match=r"mode 0700.*--api-socket"):
        module.runtime_folder({"TMPDIR": str(tmp_path)})
    with pytest.raises(SettingsError, match="mode 0700"):
        resolve_settings({}, {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}, root=False)


@pytest.mark.skipif(
    Path(f"/run/user/{os.geteuid()}").exists(), reason="logind made a runtime folder, which comes first"
)
def test_a_temporary_folder_of_our_own_is_taken_up_again(tmp_path: Path) -> None:
    folder = tmp_path / f"agentd-{os.geteuid()}"
    folder.mkdir(0o700)
    assert module.runtime_folder({"TMPDIR": str(tmp_path)}) == folder


@given(st.dictionaries(st.sampled_from([option.field for option in OPTIONS]), st.text(st.characters(codec="utf-8"))))
def test_any_text_gives_absolute_paths_or_a_settings_error(flags: dict[str, str]) -> None:
    try:
        settings = resolve_settings(flags, HOME, root=False)
    except SettingsError:
        return
    paths = (settings.config, settings.secret_dir, settings.tmux_socket, settings.api_socket, settings.state_dir)
    assert all(path.is_absolute() and ".." not in path.parts for path in paths)


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.metavar == "PATH"], ids=lambda each: each.field
)
def test_a_path_that_is_not_utf8_is_refused_by_its_name(option: Option) -> None:
    # tmux took a part of it for a command of its own, and the record of a launch could not be written.
    with pytest.raises(SettingsError, match=rf"^{option.flag}: expected a path in UTF-8, found /a/\\udcff/x: "):
        resolve_settings({option.field: "/a/\udcff/x"}, HOME, root=False)
    assert option.environment is not None
    with pytest.raises(SettingsError, match=rf"^{option.environment}: "):
        resolve_settings({}, {**HOME, option.environment: "/a/\udcff/x"}, root=False)

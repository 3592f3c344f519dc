"""Settings: where each comes from, and what is said about a bad one."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings import Settings, load_settings
from schemas.errors import InvalidInput


def load(
    directory: Path, toml: str = "", flags: dict[str, Any] | None = None, **environment: str
) -> Settings:
    """Settings from these three sources."""
    (directory / "baton.toml").write_text(toml)
    return load_settings(flags, environment, directory)


def test_nothing_set_is_the_defaults(tmp_path: Path) -> None:
    """No file, no variable, no flag."""
    assert load_settings(None, {}, tmp_path) == Settings()


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    """Each source may set each setting."""
    toml = 'namespace = "file"\ndb = "file.db"\nlisten = "127.0.0.1:1"\n'
    settings = load(tmp_path, toml, {"namespace": "flag"}, BATON_NAMESPACE="env", BATON_DB="env.db")
    assert (settings.namespace, settings.db, settings.listen) == ("flag", "env.db", "127.0.0.1:1")


def test_text_becomes_what_the_setting_is(tmp_path: Path) -> None:
    """Numbers in the environment are text; an empty variable and a flag that is None are not set."""
    settings = load(
        tmp_path,
        "",
        {"db": None},
        BATON_MAX_BATCH="7",
        BATON_START_WITHIN="0.5",
        BATON_LISTEN="",
        BATON_DB="x",
    )
    assert (settings.max_batch, settings.start_within) == (7, 0.5)
    assert (settings.listen, settings.db) == (Settings().listen, "x")


@pytest.mark.parametrize(
    ("toml", "environment", "flags", "words"),
    [
        ("", {"BATON_MAX_BATCH": "0"}, {}, ["BATON_MAX_BATCH", "max_batch", ">= 1"]),
        ("", {"BATON_MAX_BATCH": "many"}, {}, ["BATON_MAX_BATCH", "int"]),
        ("", {"BATON_GRACE": "-1"}, {}, ["BATON_GRACE"]),
        ("max_output_bytes = 262145", {}, {}, ["baton.toml", "max_output_bytes", "<= 262144"]),
        ("max_event_bytes = 8191", {}, {}, ["baton.toml", "max_event_bytes", ">= 8192"]),
        ("max_event_bytes = 1048577", {}, {}, ["baton.toml", "max_event_bytes", "<= 1048576"]),
        ("", {"BATON_LIFECYCLE": "loud"}, {}, ["BATON_LIFECYCLE", "loud"]),
        ("", {"BATON_SHARD": "a b"}, {}, ["BATON_SHARD"]),
        ("", {}, {"namespace": "no spaces"}, ["--namespace", "no spaces"]),
        ("", {}, {"amqp_url": 7}, ["--amqp-url"]),
        ("max_active_runs = 0", {}, {}, ["baton.toml", "max_active_runs"]),
        ("max_batsh = 7", {}, {}, ["baton.toml", "no setting 'max_batsh'"]),
        ("[coordinator]\n", {}, {}, ["baton.toml", "no setting 'coordinator'"]),
        ("db = ", {}, {}, ["baton.toml", "cannot be read"]),
    ],
)
def test_a_bad_setting_is_named_with_its_source(
    toml: str, environment: dict[str, str], flags: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    """Which one, where it came from, and what is wrong with it."""
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, toml, flags, **environment)
    assert caught.value.code == "bad_settings"
    assert all(word in caught.value.message for word in words), caught.value.message


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "baton.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"baton\.toml cannot be read"):
        load_settings(None, {}, tmp_path)


@pytest.mark.parametrize("name", ["token", "amqp_url", "amqp_management_url"])
def test_what_is_secret_is_not_shown(name: str, tmp_path: Path) -> None:
    """Also when it is of the wrong kind."""
    with pytest.raises(InvalidInput, match=name) as caught:
        load(tmp_path, f'{name} = ["hush"]')
    assert "hush" not in caught.value.message

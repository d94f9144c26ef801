"""Test where a local cluster keeps its data, and that commands find it while it is stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.data_folder import data_folder, default_data_folder, earlier_data

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_checkout_keeps_its_data_in_itself_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_folder({"XDG_DATA_HOME": str(tmp_path)}) == REPOSITORY / ".local"


def test_an_installation_keeps_them_where_the_user_keeps_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    installed = tmp_path / "site-packages"
    assert default_data_folder({"XDG_DATA_HOME": "/data"}, installed) == Path("/data/leaderboard")
    for unset in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert default_data_folder(unset, installed) == Path("/home/someone/.local/share/leaderboard")


def test_what_is_given_counts() -> None:
    assert data_folder({"LEADERBOARD_DATA_DIR": "elsewhere"}) == Path("elsewhere")
    assert data_folder({"LEADERBOARD_DATA_DIR": ""}) == REPOSITORY / ".local"


def test_commands_sign_with_the_secret_of_a_cluster_that_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("JWT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEADERBOARD_DATA_DIR", str(tmp_path))
    assert "JWT_SECRET_FILE" not in command_environment()
    (tmp_path / "jwt_secret").write_text("kept\n")
    assert command_environment()["JWT_SECRET_FILE"] == str(tmp_path / "jwt_secret")
    monkeypatch.setenv("JWT_SECRET", "of the user")
    assert "JWT_SECRET_FILE" not in command_environment()


def test_the_data_of_an_earlier_version_are_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert earlier_data(tmp_path / "share") is None
    earlier = tmp_path / ".local"
    earlier.mkdir()
    assert earlier_data(tmp_path / "share") is None, "a folder of whatever"
    (earlier / "cluster.lock").touch()
    assert earlier_data(tmp_path / "share") == earlier
    assert earlier_data(Path(".local")) is None


def test_the_data_of_a_checkout_are_not_those_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / ".local"
    data.mkdir()
    (data / "cluster.lock").touch()
    (tmp_path / "pyproject.toml").touch()
    assert earlier_data(tmp_path / "share") == data, "any project has that file"
    (tmp_path / "leaderboard_cli").mkdir()
    assert earlier_data(tmp_path / "share") is None, "its `make up` goes on with them"

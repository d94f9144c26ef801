"""Test that options have what `.env` says of their variables as defaults, behind the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from leaderboard_cli.app import build, defaults_of, main


def test_options_of_a_command_and_its_subcommands_have_their_variables_values() -> None:
    values = {"LEADERBOARD_PORT": "9080", "LEADERBOARD_DATA_DIR": "data", "REDIS_URL": "redis://127.0.0.1:1/0"}
    found = defaults_of(typer.main.get_command(build()), values)
    assert found["up"] == {"port": "9080", "data_dir": "data"}
    assert found["reset"] == {"data_dir": "data"}
    assert found["boards"]["apply"] == {}


@pytest.mark.parametrize("of_environment", ["", "0"])
def test_a_wrong_value_in_dotenv_is_refused_as_in_the_environment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    of_environment: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LEADERBOARD_PORT=99999\nLEADERBOARD_REPLICAS=\n")
    monkeypatch.setenv("LEADERBOARD_PORT", of_environment)
    monkeypatch.setattr("sys.argv", ["leaderboard", "up"])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert "--port" in error
    assert ("65535" in error) == (not of_environment), "the environment beats the file"

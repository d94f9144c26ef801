"""Test which lines of the processes' logs `leaderboard up` shows, and how."""

from __future__ import annotations

import json

import pytest

from leaderboard_cli.cluster.output import Output, Show

LINES = [
    "LOG:  database system is ready",
    '{"level": "WARNING" cut off',
    json.dumps({"time": "T", "level": "INFO", "process": "service-1", "logger": "l", "message": "started"}),
    json.dumps({"time": "T", "level": "WARNING", "process": "service-1", "logger": "l", "message": "Redis refused",
                "region": "EU", "code": "OOM"}),
    json.dumps({"time": "T", "level": "ERROR", "process": "service-1", "logger": "l", "message": "a task failed",
                "exception": "Traceback (most recent call last):\n  File …\nKeyError: 'x'"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("show", "shown"),
    [
        (Show.NONE, []),
        (
            Show.WARNINGS,
            [
                "service-1 | warning: Redis refused  region=EU code=OOM",
                "service-1 | error: a task failed  KeyError: 'x'",
            ],
        ),
        (Show.ALL, [f"service-1 | {line}" for line in LINES]),
    ],
)
def test_warnings_are_shown_in_plain_words(show: Show, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Output(["service-1"], show=show).log_lines("service-1", LINES)
    assert capsys.readouterr().out.splitlines() == shown


def test_pairs_stand_in_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output().pairs([("leaderboard seed 1000", "adds players"), ("logs", "")])
    assert capsys.readouterr().out.splitlines() == ["  leaderboard seed 1000  adds players", "  logs"]


def test_what_clients_wrote_does_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"level": "WARNING", "message": "no \x1b[2J\nforged | line", "path": "/\x07"})
    Output(["s"]).log_lines("s", [line])
    assert capsys.readouterr().out == "s | warning: no \ufffd[2J\ufffdforged | line  path=/\ufffd\n"

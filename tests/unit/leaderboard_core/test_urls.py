"""URLs of servers are shown without passwords, wherever those stand."""

from __future__ import annotations

import pytest

from leaderboard_core.urls import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("redis://user:secret@h:1/0", "redis://user:***@h:1/0"),
        ("redis://h:1/0?password=secret&db=2", "redis://h:1/0?password=***&db=2"),
        ("postgresql://u:se%2Fcret@/db?host=/run/pg", "postgresql://u:***@/db?host=/run/pg"),
        ("rediss://h/0?ssl_password=secret", "rediss://h/0?ssl_password=***"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown

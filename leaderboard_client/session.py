"""Remember the token and player of a client between its calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from leaderboard_client.errors import Unauthorized
from leaderboard_client.steps import Answer

T = TypeVar("T")


class Session:
    """The token of the player who registered or logged in, or of a server, and the player's user_id."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.user_id: str | None = None

    def own(self, user_id: str | None) -> str:
        """Return the given user_id, or the remembered one. Raises Unauthorized when there is neither."""
        if user_id is not None:
            return user_id
        if self.user_id is None:
            raise Unauthorized("Name a user_id: nobody has registered or logged in with this client.", code="nobody")
        return self.user_id

    def entering(
        self, user_id: str, read: Callable[[Answer], T], token_of: Callable[[T], str]
    ) -> Callable[[Answer], T]:
        """Wrap a reader so that it remembers the token and its player."""

        def remember(answer: Answer) -> T:
            result = read(answer)
            self.token, self.user_id = token_of(result), user_id
            return result

        return remember


def new_key() -> str:
    """Make a unique Idempotency-Key."""
    return secrets.token_urlsafe(18)

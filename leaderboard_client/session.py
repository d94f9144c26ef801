"""Remember the token and player of a client between its calls, and the board that they are for."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from leaderboard_client.errors import Unauthorized
from leaderboard_client.steps import Answer

T = TypeVar("T")


MAIN: Final = "main"
"""The board of a call that names none."""


@dataclass
class Caller:
    """Who calls: the token of the player who registered or logged in, or of a server, and the player's user_id."""

    token: str | None = None
    user_id: str | None = None


class Session:
    """Whose calls these are, and for which board; several boards share one caller."""

    def __init__(
        self, token: str | None = None, *, caller: Caller | None = None, board_name: str = MAIN, metadata: bool = False
    ) -> None:
        self.caller = Caller(token) if caller is None else caller
        self.board_name = board_name
        self.metadata = metadata

    @property
    def token(self) -> str | None:
        """The token of the calls."""
        return self.caller.token

    @property
    def user_id(self) -> str | None:
        """The player who registered or logged in last."""
        return self.caller.user_id

    @property
    def named_board(self) -> str | None:
        """The board as a call says it: None for the main board, which need not be named."""
        return None if self.board_name == MAIN else self.board_name

    def own(self, user_id: str | None) -> str:
        """Return the given user_id, or the remembered one. Raises Unauthorized when there is neither."""
        if user_id is not None:
            return user_id
        if self.caller.user_id is None:
            raise Unauthorized("Name a user_id: nobody has registered or logged in with this client.", code="nobody")
        return self.caller.user_id

    def own_region(self, region: str | None) -> str:
        """Return the given region, or the one that the token is for. Raises Unauthorized when there is neither."""
        found = region or _claims(self.token).get("region")
        if not isinstance(found, str):
            raise Unauthorized("Name a region: nobody has registered or logged in with this client.", code="nobody")
        return found

    def entering(
        self, user_id: str, read: Callable[[Answer], T], token_of: Callable[[T], str]
    ) -> Callable[[Answer], T]:
        """Wrap a reader so that it remembers the token and its player."""

        def remember(answer: Answer) -> T:
            result = read(answer)
            self.caller.token, self.caller.user_id = token_of(result), user_id
            return result

        return remember


def _claims(token: str | None) -> dict[str, object]:
    """Read what a token says, which only the server can check; empty when it cannot be read."""
    payload = (token or "").split(".")[1:2]
    try:
        found = json.loads(base64.urlsafe_b64decode(payload[0] + "===")) if payload else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def new_key() -> str:
    """Make a unique Idempotency-Key."""
    return secrets.token_urlsafe(18)

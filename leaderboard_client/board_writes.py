"""Build the writes of scores to one board, under an Idempotency-Key each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from leaderboard_client import reading
from leaderboard_client.board_reads import BoardReads
from leaderboard_client.calls import Call, given, segment
from leaderboard_client.results import Written
from leaderboard_client.session import Session, new_key
from leaderboard_client.steps import Answer

T = TypeVar("T")


class Writing(Session):
    """How every write is sent."""

    def write(
        self,
        path: str,
        read: Callable[[Answer], T],
        body: Mapping[str, Any] | None,
        key: str | None,
        *,
        method: str = "POST",
        again: Callable[[T], float | None] | None = None,
    ) -> Call[T]:
        """Build a call under an Idempotency-Key, which is made unless one is given."""
        key = new_key() if key is None else key
        return Call(method, path, read, body=body, token=self.token, key=key, again=again)


class BoardApi(BoardReads, Writing):
    """The calls of one board. What the board's rules do not allow raises an error that says so.

    An omitted user_id means the player who registered or logged in, an omitted region the token's.
    """

    def submit(
        self,
        score: int,
        user_id: str | None = None,
        region: str | None = None,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        force: bool = False,
        ranks: bool = False,
        key: str | None = None,
    ) -> Call[Written]:
        """Submit a score: it is the new one, counts if it is better, or is added, as the board's operator says.

        With a player's token its own; with a server's token anybody's, who is made if need be, and `force` corrects
        a score whatever the operator and the bounds. metadata: a JSON object that stays with the score.
        name, ranks, key: as for `Client.submit` and `Client.update`.
        """
        body = {"user_id": self.own(user_id), "region": self.own_region(region), "score": score}
        more = {"metadata": metadata, "name": name, "force": force or None, "rank": ranks or None}
        return self.write("/score", reading.written, given(body, board=self.named_board, **more), key)

    def add(
        self, delta: int, *, metadata: Mapping[str, Any] | None = None, ranks: bool = False, key: str | None = None
    ) -> Call[Written]:
        """Add to the score of the token's player; a board that counts the best takes none."""
        body = given({"delta": delta}, board=self.named_board, metadata=metadata, rank=ranks or None)
        return self.write("/score/add", reading.written, body, key)

    def remove(self, user_id: str) -> Call[bool]:
        """Take a player's entry off the board, with a server's token or an administrator's; False if it had none.

        A later score makes a new one. Raises Conflict for the board `main`.
        """
        path = f"/boards/{segment(self.board_name)}/entries/{segment(user_id)}"
        return Call("DELETE", path, reading.removed, token=self.token)

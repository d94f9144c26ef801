"""Build the write calls: accounts, scores, deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from leaderboard_client import reading
from leaderboard_client.board_writes import Writing
from leaderboard_client.calls import Call, given, segment
from leaderboard_client.errors import Conflict, InvalidRequest, LeaderboardError
from leaderboard_client.results import (
    Batch,
    Created,
    DefinedBoard,
    Deleted,
    Entered,
    Refusal,
    Registered,
    Submission,
    Written,
)

_PASSING = frozenset(
    {"rate_limited", "region_rate_limited", "queue_full", "unavailable", "warming_up", "repartitioning"}
)
"""Refusals of one score of a batch that are temporary."""


class Writes(Writing):
    """Write calls. A write of a score is sent again until it is answered, and counts once."""

    def register(
        self, user_id: str, name: str, region: str, initial_score: int = 0, *, password: str | None = None
    ) -> Call[Registered]:
        """Register a player, and use its token from now on.

        user_id: 1-128 characters without white space, control characters or "/", case-sensitive, in Unicode's NFC;
        name: 1-200 characters without control characters; both in any script. region: the home region.
        initial_score: within ±(2^53-1).
        password: 8-1024 characters; without one, keep the answer's `secret`: it logs the player in.
        Raises Conflict when the user_id is taken. A registration whose answer was lost (ConnectionFailed with
        `maybe_done`) is not repeated: try `login`.
        """
        body = {"user_id": user_id, "name": name, "region": region, "initialScore": initial_score}
        return Call(
            "POST",
            "/auth/register",
            self.entering(user_id, reading.registered, lambda result: result.token),
            body=given(body, password=password),
            repeatable=False,
        )

    def login(
        self,
        user_id: str,
        name: str | None = None,
        region: str | None = None,
        *,
        password: str | None = None,
        secret: str | None = None,
    ) -> Call[str]:
        """Log an existing player in and use its token, valid for JWT_TTL_SECONDS, from now on; return the token.

        With its password, or the secret of its registration. With a name alone, where the server takes that for a
        login, the token can neither export nor delete the player.
        Raises NotFound when there is no such player, Unauthorized when this is not its own.
        """
        return Call(
            "POST",
            "/auth/login",
            self.entering(user_id, reading.token, lambda token: token),
            body=given({"user_id": user_id}, name=name, region=region, password=password, secret=secret),
        )

    def login_or_register(
        self,
        user_id: str,
        name: str,
        region: str,
        initial_score: int = 0,
        *,
        password: str | None = None,
        secret: str | None = None,
    ) -> Call[Entered]:
        """Enter a player whether it is new or not, and use its token from now on.

        With a password: log in, or register when there is no such player; an answer that is lost does no harm.
        With the secret of its registration: log in; so keep the `secret` that the first call without one answers, and
        pass it from then on. With neither: register.
        name, region and initial_score are a new player's, as for `register`; one that is there keeps its own.
        Raises Unauthorized when the password or secret is not the player's, NotFound when there is none with this
        secret, Conflict when neither is given and the user_id is taken.
        """
        if password is not None and secret is not None:
            raise InvalidRequest("Give a password or a secret, not both.", code="invalid_payload")
        log_in = self._enter("/auth/login", given({"user_id": user_id}, password=password, secret=secret))
        if secret is not None:
            return log_in
        body = {"user_id": user_id, "name": name, "region": region, "initialScore": initial_score}
        if password is None:
            return self._enter("/auth/register", body, repeatable=False, instead=_asking_for_proof)
        # One whose answer was lost may be repeated: whoever has the password can log in.
        register = self._enter(
            "/auth/register",
            given(body, password=password),
            instead=lambda error: log_in if error.code == "user_exists" else error,
        )
        return replace(log_in, instead=lambda error: register if error.code == "user_not_found" else error)

    def _enter(
        self,
        path: str,
        body: dict[str, Any],
        *,
        repeatable: bool = True,
        instead: Callable[[LeaderboardError], Call[Entered] | LeaderboardError] | None = None,
    ) -> Call[Entered]:
        return Call(
            "POST",
            path,
            self.entering(str(body["user_id"]), reading.entered, lambda result: result.token),
            body=body,
            repeatable=repeatable,
            instead=instead,
        )

    def create(self, region: str, initial_score: int = 0, *, key: str | None = None) -> Call[Created]:
        """Put the token's player on the boards of its region, unless it is there already.

        Raises Conflict when the token is for another region.
        """
        return self.write("/score/create", reading.created, {"region": region, "initialScore": initial_score}, key)

    def update(self, score: int, *, ranks: bool = False, key: str | None = None) -> Call[Written]:
        """Set the score of the token's player, within ±(2^53-1).

        ranks: answer with the player's ranks after it as well.

        key: an Idempotency-Key of your own, 1-255 visible ASCII characters, for a write that must count once even
        if your program starts again; one is made for each call otherwise.
        """
        return self.write("/score/update", reading.written, given({"score": score}, rank=ranks or None), key)

    def add(self, delta: int, *, ranks: bool = False, key: str | None = None) -> Call[Written]:
        """Add to the score of the token's player; a negative delta takes away. `ranks` and `key` as for `update`.

        Raises InvalidRequest with the code score_out_of_range, and changes nothing, when it would leave ±(2^53-1).
        """
        return self.write("/score/add", reading.written, given({"delta": delta}, rank=ranks or None), key)

    def submit(
        self,
        user_id: str,
        region: str,
        score: int,
        *,
        name: str | None = None,
        ranks: bool = False,
        key: str | None = None,
    ) -> Call[Written]:
        """Set a player's score: with a player's token its own, with a server's token anybody's.

        A server's submit makes the player if need be. `name`, when given, replaces the stored one; `ranks` and
        `key` as for `update`. Raises Forbidden for another player, Conflict when the player belongs to another region.
        """
        body = {"user_id": user_id, "region": region, "score": score}
        return self.write("/score", reading.written, given(body, name=name, rank=ranks or None), key)

    def submit_many(self, scores: Iterable[Submission | Mapping[str, Any]], *, key: str | None = None) -> Call[Batch]:
        """Set or add to 1-1,000 scores with a server's token, on any boards; each is taken or refused on its own.

        A player's token sends up to 8 of its own: one game's end on several boards.

        Temporary refusals (429, 503) are sent again within the call's time, unless that would put two
        scores of one player out of order. What is refused in the end is in the results; it raises nothing.
        """
        items = [
            {name: value for name, value in asdict(score).items() if value is not None}
            if isinstance(score, Submission)
            else dict(score)
            for score in scores
        ]
        return self.write(
            "/scores", reading.batch, {"scores": items}, key, again=lambda batch: rest_of_batch(items, batch)
        )

    def delete_user(self, user_id: str, *, key: str | None = None) -> Call[Deleted]:
        """Remove a player for good, with its own token or a server's: boards, password and saved row.

        The user_id is free again, and earlier tokens are revoked. `key` as for `update`.
        Raises NotFound when there is no such player, Forbidden with the token of another one.
        """
        return self.write(f"/users/{segment(user_id)}", reading.deleted, None, key, method="DELETE")

    def set_password(
        self, password: str, user_id: str | None = None, *, old_password: str | None = None, secret: str | None = None
    ) -> Call[None]:
        """Give a player (the token's, if no user_id is named) its first password, or another one.

        A server's token needs nothing more; others send the old password, or for the first one the secret.
        Raises Unauthorized when these are not the player's, Forbidden when they are not enough.
        """
        return Call(
            "PUT",
            f"/users/{segment(self.own(user_id))}/password",
            reading.nothing,
            body=given({"password": password}, old_password=old_password, secret=secret),
            token=self.token,
            repeatable=False,
        )

    def new_secret(self, user_id: str) -> Call[str]:
        """Return a new secret of a player, with a server's token; the one before is worth nothing from now on.

        Raises NotFound when there is no such player, Forbidden with a player's token.
        """
        path = f"/users/{segment(user_id)}/secret"
        return Call("POST", path, reading.secret, token=self.token, repeatable=False)

    def define_board(self, board: str, definition: Mapping[str, Any]) -> Call[DefinedBoard]:
        """State all rules of a board, with an administrator's token; what is left out is as it was at the beginning.

        Scores that are sent after this returned go by them; the same once more changes nothing.
        Raises Conflict with the code fixed_field for what cannot be changed (`details["field"]`), Unavailable with the
        code not_everywhere when the rules are saved and some Redis could not be told in the call's time.
        """
        return Call("PUT", f"/boards/{segment(board)}", reading.defined_board, body=definition, token=self.token)

    def delete_board(self, board: str) -> Call[None]:
        """Take a board away for good, with an administrator's token. Raises Conflict for the board `main`."""
        return Call("DELETE", f"/boards/{segment(board)}", reading.nothing, token=self.token)


def rest_of_batch(items: list[dict[str, Any]], batch: Batch) -> float | None:
    """Return after how many seconds to send a batch again under its key for what was refused; None when useless.

    What was taken is not done again, so a score that is refused now would come after a later one of its player.
    """
    waits: list[float] = []
    taken_later: set[object] = set()
    for item, result in zip(reversed(items), reversed(batch.results), strict=False):
        player = item.get("user_id")
        if not isinstance(result, Refusal):
            taken_later.add(player)
        elif result.code in _PASSING:
            if player in taken_later:
                return None
            waits.append(result.retry_after or 0.0)
    return max(waits, default=None)


def _asking_for_proof(error: LeaderboardError) -> LeaderboardError:
    """Say what is missing to a caller who registers a user_id that is taken, without a password or a secret."""
    if error.code != "user_exists":
        return error
    return Conflict(
        "This user_id is registered already: give the player's password, or the secret that its registration answered.",
        code=error.code,
        status=error.status,
        request_id=error.request_id,
        details=error.details,
    )

"""Defines one write of a player's score, what may be wrong with it, and what its script answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import orjson

from leaderboard_core.boards import MAIN, Board
from leaderboard_core.errors import IdempotencyKeyInUse
from leaderboard_core.names import why_no_new_name, why_no_new_user_id
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.board_counters import BoardCounters
from leaderboard_core.tokens import Identity
from leaderboard_service.idempotency import Idempotency
from leaderboard_service.players.credentials import SERVER
from leaderboard_service.scores.refusals import refusal_of

Operation = Literal["register", "create", "set", "update", "add", "force", "secret", "password"]


class Write(NamedTuple):
    """One write of a player. `amount` is the score, or the delta for "add"; an empty `name` keeps the stored one.

    "secret" and "password" keep the score: they give the player the secret whose hash is `credential`, or say that it
    has a password. Else `credential` is that of a player whom the write makes: a server, if it does not register.
    `issued_at` is when the player's token was issued (µs); None for a server's, and where there is none. "update" is a
    "set" of a player that takes no sum, "force" a "set" of a server whatever the operator and the bounds. `metadata` is
    JSON, "" for none.
    """

    operation: Operation
    user_id: str
    region: str
    amount: int
    request_id: str
    name: str = ""
    subject: str = ""
    idempotency: Idempotency | None = None
    user_bucket: bool = True
    may_create: bool = False
    protected: bool = False
    issued_at: int | None = None
    credential: str = SERVER
    board: Board = MAIN
    metadata: str = ""


def player_write(
    operation: Operation,
    caller: Identity,
    amount: int,
    request_id: str,
    idempotency: Idempotency | None,
    name: str = "",
    *,
    board: Board = MAIN,
    metadata: str = "",
) -> Write:
    """Build a write of a player with its own token."""
    return Write(
        operation=operation,
        user_id=caller.user_id,
        region=caller.region,
        amount=amount,
        name=name,
        request_id=request_id,
        subject=caller.user_id,
        idempotency=idempotency,
        issued_at=caller.issued_at,
        board=board,
        metadata=metadata,
    )


def submitted_write(
    operation: Operation,
    user_id: str,
    region: str,
    amount: int,
    caller: Identity,
    request_id: str,
    idempotency: Idempotency | None,
    *,
    name: str,
    board: Board,
    metadata: str,
) -> Write:
    """Build a write of a score that its player submits, or a server, which makes the player if need be."""
    by_server = caller.is_server
    return Write(
        operation=operation,
        user_id=user_id,
        region=region,
        amount=amount,
        name=name,
        request_id=request_id,
        subject=caller.user_id,
        idempotency=idempotency,
        user_bucket=not by_server,
        may_create=by_server,
        issued_at=None if by_server else caller.issued_at,
        board=board,
        metadata=metadata,
    )


def wrong_operator(write: Write) -> bool:
    """Whether the board's operator does not do this: adds to a best score, and a sum that is set by its player."""
    match write.board.rules.operator:
        case "best":
            return write.operation == "add"
        case "sum":
            return write.operation == "update"
    return False


def problems_of_new(write: Write) -> dict[str, str]:
    """Say by field what keeps a write from making a player, or from giving it that name; mostly nothing."""
    problems = {}
    if write.may_create or write.operation == "create":
        problem = why_no_new_user_id(write.user_id)
        if problem is not None:
            problems["user_id"] = problem
    if write.name and (problem := why_no_new_name(write.name)) is not None:
        problems["name"] = problem
    return problems


def is_players_own(write: Write) -> bool:
    """Whether a score that is not the 0 of a beginning comes from the player itself."""
    match write.operation:
        case "register":
            return write.amount != 0
        case "create":
            return write.amount != 0 and write.issued_at is not None
        case "set" | "update" | "add":
            return write.issued_at is not None
    return False


class Written(NamedTuple):
    """The player's state on a board after a write; `updated_at` is µs since the epoch.

    `created` says that the write made the player, or its entry. `previous` is the score before: None when it did, or
    when a repeat of it no longer knows.
    """

    user_id: str
    region: str
    name: str
    score: int
    updated_at: int
    created: bool
    previous: int | None = None
    board: Board = MAIN

    @property
    def improved(self) -> bool | None:
        """Whether the score is a better one than before; None when that is not known."""
        if self.previous is None:
            return True if self.created else None
        return self.board.sign * (self.score - self.previous) > 0


def read_result(write: Write, answer: Sequence[str], counters: BoardCounters) -> Written:
    """Read the script's answer to a write, and count it. Raises the error of its refusal, or ClaimNeeded."""
    if answer[0] == "refused":
        counters.count_write(write.board.name, answer[1])
        raise refusal_of(answer[1], answer[2:])
    counters.count_write(write.board.name, answer[0])
    if answer[0] == "replay":
        if write.idempotency is None or answer[1] != write.idempotency.fingerprint:
            raise IdempotencyKeyInUse
        answer = answer[2:]
    _, region, name, score, updated_at, beginning = answer
    created, _, previous = beginning.partition(" ")
    before = int(previous) if previous else None
    return Written(write.user_id, region, name, int(score), int(updated_at), created == "1", before, write.board)


def event_fields(region: str, request_id: str, events: int = 1) -> str:
    """Encode what so many events have in common that one script writes."""
    fields = {"region": region, "request_id": request_id}
    if (tracer := tracing.active()) is not None:
        fields |= tracer.event_fields(region, events)
    return orjson.dumps(fields)[1:-1].decode()


def event_start(user_id: str, fields: str) -> str:
    """Encode the beginning of a write's event, which the script completes, from `event_fields`."""
    return f'{{"user_id":{orjson.dumps(user_id).decode()},{fields}'


def key_hash(write: Write) -> str:
    """Hash a write's subject and Idempotency-Key, as its row keeps them; '' when it has no key."""
    if write.idempotency is None:
        return ""
    named = f"{write.subject or write.user_id}/{write.idempotency.key}"
    return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

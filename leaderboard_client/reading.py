"""Turn answers of the API into results."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from leaderboard_client.picking import pick, rows_of
from leaderboard_client.results import (
    Account,
    Around,
    Batch,
    BoardPage,
    BoardRank,
    Created,
    DefinedBoard,
    Deleted,
    Entered,
    EntryOnBoard,
    EntryPage,
    Export,
    ExportedUser,
    ListedRow,
    Page,
    Player,
    Rank,
    Ranks,
    Refusal,
    Registered,
    Row,
    Saved,
    Standing,
    Written,
)
from leaderboard_client.steps import Answer
from leaderboard_client.system_results import Health, QueueStatus, Status, WorkerStatus


def registered(answer: Answer) -> Registered:
    data = answer.json()
    return pick(Registered, data, user=pick(Player, data["user"]))


def entered(answer: Answer) -> Entered:
    data = answer.json()
    return pick(Entered, data, user=pick(Player, data["user"]), registered=answer.status == HTTPStatus.CREATED)


def token(answer: Answer) -> str:
    return str(answer.json()["token"])


def secret(answer: Answer) -> str:
    return str(answer.json()["secret"])


def nothing(answer: Answer) -> None:
    """Read no more than that it was done."""


def removed(answer: Answer) -> bool:
    return bool(answer.json()["removed"])


def created(answer: Answer) -> Created:
    data = answer.json()
    return pick(Created, data, card=pick(Player, data["card"]))


def written(answer: Answer) -> Written:
    data = answer.json()
    if (ranks := data.get("ranks")) is None:
        return pick(Written, data)
    return pick(Written, data, ranks={name: pick(Standing, standing) for name, standing in ranks.items()})


def batch(answer: Answer) -> Batch:
    data = answer.json()
    return pick(Batch, data, results=tuple(map(_batch_item, data["results"])))


def _batch_item(item: dict[str, Any]) -> Written | Refusal:
    if item["ok"]:
        return pick(Written, item)
    known = ("ok", "error", "message", "retry_after")
    details = {name: value for name, value in item.items() if name not in known}
    return Refusal(item["error"], item["message"], item.get("retry_after"), details)


def regions(answer: Answer) -> tuple[str, ...]:
    return tuple(answer.json()["regions"])


def page(answer: Answer) -> Page:
    data = answer.json()
    return pick(Page, data, rows=rows_of(data, Row), source=_source(answer))


def rank(answer: Answer) -> Rank:
    return pick(Rank, answer.json(), source=_source(answer))


def ranks(answer: Answer) -> Ranks:
    data = answer.json()
    return pick(Ranks, data, rows=rows_of(data, ListedRow), unknown=tuple(data["unknown"]), source=_source(answer))


def around(answer: Answer) -> Around:
    data = answer.json()
    own = pick(Row, data["self"])
    return pick(Around, data, own=own, around=rows_of(data, Row, "around"), source=_source(answer))


def deleted(answer: Answer) -> Deleted:
    return pick(Deleted, answer.json())


def _entry(data: dict[str, Any]) -> EntryOnBoard:
    return pick(EntryOnBoard, data, ranks={name: pick(BoardRank, rank) for name, rank in data["ranks"].items()})


def entries(answer: Answer) -> EntryPage:
    data = answer.json()
    return pick(EntryPage, data, entries=tuple(map(_entry, data["entries"])), source=_source(answer))


def export(answer: Answer) -> Export:
    data = answer.json()
    return Export(
        user=pick(ExportedUser, data["user"]),
        ranks={board: pick(BoardRank, place) for board, place in data["ranks"].items()},
        account=data["account"] and pick(Account, data["account"]),
        saved=data["saved"] and pick(Saved, data["saved"]),
        entries=tuple(map(_entry, data.get("entries", ()))),
    )


def defined_board(answer: Answer) -> DefinedBoard:
    return pick(DefinedBoard, answer.json())


def board_page(answer: Answer) -> BoardPage:
    data = answer.json()
    return BoardPage(tuple(pick(DefinedBoard, board) for board in data["boards"]), data["next_cursor"])


def status(answer: Answer) -> Status:
    data = answer.json()
    queues, workers = rows_of(data, QueueStatus, "queues"), rows_of(data, WorkerStatus, "workers")
    return pick(Status, data, queues=queues, workers=workers, details=data)


def health(answer: Answer) -> Health:
    data = answer.json()
    return Health(bool(data["ok"]), data)


def text(answer: Answer) -> str:
    return answer.content.decode()


def _source(answer: Answer) -> str:
    return answer.headers.get("x-leaderboard-source", "redis")

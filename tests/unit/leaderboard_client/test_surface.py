"""Test the public surface: the same typed, documented calls on both clients."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from importlib import resources
from typing import Any, assert_type

import httpx
import pytest

import leaderboard_client as client
from leaderboard_client import board_reads, board_writes, reads, results, writes
from leaderboard_client.board_writes import BoardApi
from leaderboard_client.transport import Api
from leaderboard_core.calls import CALLS
from leaderboard_core.calls import Call as ApiCall


def calls(kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind) if callable(value) and not name.startswith("_")}


def test_both_clients_have_every_call_with_its_docstring_and_signature() -> None:
    for api, kinds, more in (
        (Api, (client.Client, client.AsyncClient), {"close", "board"}),
        (BoardApi, (client.Board, client.AsyncBoard), set[str]()),
    ):
        built = {name for name in calls(api) if name not in ("own", "own_region", "entering", "write")}
        for kind in kinds:
            found = calls(kind)
            assert found.keys() == built | more
            for name in built:
                assert found[name].__doc__ == getattr(api, name).__doc__
                assert found[name].__doc__
                parameters = inspect.signature(getattr(api, name)).parameters
                assert inspect.signature(found[name]).parameters == parameters
    assert inspect.signature(client.Client.top).return_annotation == "Page"
    assert inspect.signature(client.AsyncClient.stream_rank).return_annotation == "AsyncIterator[LiveRank]"
    assert inspect.signature(client.Client.iter_top).return_annotation == "Iterator[Row]"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_every_call_of_the_api_has_a_method(call: ApiCall) -> None:
    sent = "".join(map(inspect.getsource, (reads, writes, board_reads, board_writes)))
    ends = "{" if call.has_parameter else '"'
    assert f'"{call.prefix}{ends}' in sent


def types_of_the_calls(sync: client.Client, later: client.AsyncClient) -> None:
    """Checked by mypy, never run."""
    assert_type(sync.top(limit=3), client.Page)
    assert_type(sync.rank().percentile, float)
    assert_type(sync.board("kills").submit(12), client.Written)
    assert_type(later.board("kills").iter_top(), AsyncIterator[client.Row])
    assert_type(sync.register("a", "A", "EU").user, client.Player)
    assert_type(sync.login("a", "A"), str)
    assert_type(sync.login_or_register("a", "A", "EU").registered, bool)
    assert_type(sync.iter_top(), Iterator[client.Row])
    assert_type(sync.stream_top(), Generator[client.LiveTop, None, None])
    assert_type(later.iter_range_by_score(1), AsyncIterator[client.Row])
    assert_type(later.events_rank("a"), AsyncGenerator[client.Event, None])
    sync.top(limit="3")  # type: ignore[arg-type]
    sync.add()  # type: ignore[call-arg]


async def awaited_types(later: client.AsyncClient) -> None:
    """Checked by mypy, never run."""
    assert_type(await later.add(1), client.Written)
    assert_type(await later.submit_many([]), client.Batch)


def test_results_are_frozen_and_exported() -> None:
    kind: Any
    for name, kind in inspect.getmembers(results, dataclasses.is_dataclass):
        assert name in client.__all__
        assert kind.__dataclass_params__.frozen
        assert (kind.__doc__ or "").rstrip().endswith(".")
    assert sorted(client.__all__) == client.__all__


def test_errors_are_documented_and_one_tree() -> None:
    for name in client.__all__:
        kind = getattr(client, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, client.LeaderboardError)
            assert kind.__doc__


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "//x", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        client.Client(url)


def test_a_clients_own_connections_are_closed_and_lent_ones_are_not() -> None:
    lent = httpx.Client()
    with client.Client("http://board/", http=lent) as made:
        assert made.base_url == "http://board"
    assert not lent.is_closed
    lent.close()
    with client.Client("http://board") as made:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        made.health()


def test_the_token_can_be_set() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        return httpx.Response(200, json={"user_id": "a", "region": "EU", "score": 1, "updated_at": 1})

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        client.Client("http://board", token="t-1", http=http) as made,
    ):
        assert (made.token, made.user_id) == ("t-1", None)
        made.add(1)
        made.token = "t-2"
        made.add(1)
    assert sent == ["Bearer t-1", "Bearer t-2"]


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(client).joinpath("py.typed").is_file()

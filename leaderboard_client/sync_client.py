"""Implement the blocking client: carry out steps with httpx.Client and time.sleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx

from leaderboard_client.board_writes import BoardApi
from leaderboard_client.calls import Call, next_page
from leaderboard_client.exchange import exchange
from leaderboard_client.feeds import Stream
from leaderboard_client.follow import follow
from leaderboard_client.results import Page, Row
from leaderboard_client.retrying import RetryPolicy
from leaderboard_client.session import Session
from leaderboard_client.steps import Answer, Emit, Open, Outcome, Read, Send, Step, Wait
from leaderboard_client.transport import USER_AGENT, Api, Settings, arguments, failure, presented, stays_open

P = ParamSpec("P")
T = TypeVar("T")
S_co = TypeVar("S_co", bound=Session, covariant=True)


class _Wire:
    """Carry out the steps of one call or feed, and hold its open answer."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def do(self, step: Step) -> Outcome:
        try:
            match step:
                case Send() | Open():
                    return self._request(step)
                case Read():
                    return next(self._chunks, b"")
                case Wait(seconds):
                    time.sleep(seconds)
        except httpx.RequestError as error:
            return failure(error)
        return None

    def _request(self, step: Send | Open) -> Answer:
        self.close()
        response = self._http.send(self._http.build_request(**arguments(step)), stream=isinstance(step, Open))
        if stays_open(step, response):
            self._response, self._chunks = response, response.iter_bytes()
            return Answer(response.status_code, response.headers)
        return Answer(response.status_code, response.headers, response.read())

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


class _Caller(Generic[S_co]):
    """Builds calls for a session, and carries them out over the connections of a client."""

    _api: S_co
    _http: httpx.Client
    _base_url: str
    _policy: RetryPolicy
    _stream_policy: RetryPolicy

    def _run(self, call: Call[T]) -> T:
        steps, wire = exchange(call, self._base_url, self._policy), _Wire(self._http)
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = wire.do(step)

    def _follow(self, stream: Stream[T]) -> Generator[T, None, None]:
        steps, wire = follow(stream, self._base_url, self._stream_policy), _Wire(self._http)
        outcome: Outcome = None
        try:
            while True:
                try:
                    step = steps.send(outcome)
                except StopIteration:
                    return
                if isinstance(step, Emit):
                    outcome = None
                    yield step.value
                else:
                    outcome = wire.do(step)
        finally:
            wire.close()


def _call(build: Callable[Concatenate[S_co, P], Call[T]]) -> Callable[Concatenate[_Caller[S_co], P], T]:
    def method(client: _Caller[S_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client._run(build(client._api, *args, **kwargs))

    return presented(method, build)


def _rows(build: Callable[Concatenate[S_co, P], Call[Page]]) -> Callable[Concatenate[_Caller[S_co], P], Iterator[Row]]:
    def method(client: _Caller[S_co], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Row]:
        call: Call[Page] | None = build(client._api, *args, **kwargs)
        while call is not None:
            page = client._run(call)
            yield from page.rows
            call = next_page(call, page)

    return presented(method, build, "Iterator[Row]")


def _feed(
    build: Callable[Concatenate[S_co, P], Stream[T]],
) -> Callable[Concatenate[_Caller[S_co], P], Generator[T, None, None]]:
    def method(client: _Caller[S_co], /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return client._follow(build(client._api, *args, **kwargs))

    return presented(method, build, "Iterator[{}]")


class Board(_Caller[BoardApi]):
    """One board of a client, whose connections, token and player it shares; `client.board("kills")` gives it."""

    def __init__(self, client: Client, name: str, *, metadata: bool = False) -> None:
        self._api = BoardApi(caller=client._api.caller, board_name=name, metadata=metadata)
        self._http, self._base_url = client._http, client._base_url
        self._policy, self._stream_policy = client._policy, client._stream_policy

    @property
    def name(self) -> str:
        """Return the board's name."""
        return self._api.board_name

    submit = _call(BoardApi.submit)
    add = _call(BoardApi.add)
    remove = _call(BoardApi.remove)
    top = _call(BoardApi.top)
    iter_top = _rows(BoardApi.iter_top)
    range_by_score = _call(BoardApi.range_by_score)
    iter_range_by_score = _rows(BoardApi.iter_range_by_score)
    range_by_rank = _call(BoardApi.range_by_rank)
    iter_range_by_rank = _rows(BoardApi.iter_range_by_rank)
    rank = _call(BoardApi.rank)
    ranks = _call(BoardApi.ranks)
    around = _call(BoardApi.around)
    stream_top = _feed(BoardApi.stream_top)
    stream_rank = _feed(BoardApi.stream_rank)
    events_top = _feed(BoardApi.events_top)
    events_rank = _feed(BoardApi.events_rank)


class Client(Settings[httpx.Client], _Caller[Api]):
    """Call the leaderboard and wait for its answers. May be used from several threads.

    base_url: where NGINX, a gateway or a service answers. token: a player's or a server's; `register` and `login`
    put theirs in its place. timeout: seconds of silence after which an attempt is given up. max_wait: seconds after
    which a call is not tried again. stream_timeout: seconds of silence after which a live feed connects again; longer
    than STREAM_HEARTBEAT_SECONDS. http: an httpx client of your own (certificates, proxies, limits), which stays yours
    to close. Every call raises LeaderboardError.
    """

    @staticmethod
    def _own_http(*, heed_environment: bool) -> httpx.Client:
        return httpx.Client(headers=USER_AGENT, trust_env=heed_environment)

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def board(self, name: str, *, metadata: bool = False) -> Board:
        """Return one board to submit to and to read, its rows with their metadata if wanted; nothing is sent."""
        return Board(self, name, metadata=metadata)

    register = _call(Api.register)
    login = _call(Api.login)
    login_or_register = _call(Api.login_or_register)
    create = _call(Api.create)
    update = _call(Api.update)
    add = _call(Api.add)
    submit = _call(Api.submit)
    submit_many = _call(Api.submit_many)
    delete_user = _call(Api.delete_user)
    set_password = _call(Api.set_password)
    new_secret = _call(Api.new_secret)
    define_board = _call(Api.define_board)
    delete_board = _call(Api.delete_board)
    regions = _call(Api.regions)
    boards = _call(Api.boards)
    board_definition = _call(Api.board_definition)
    top = _call(Api.top)
    iter_top = _rows(Api.iter_top)
    range_by_score = _call(Api.range_by_score)
    iter_range_by_score = _rows(Api.iter_range_by_score)
    range_by_rank = _call(Api.range_by_rank)
    iter_range_by_rank = _rows(Api.iter_range_by_rank)
    rank = _call(Api.rank)
    ranks = _call(Api.ranks)
    around = _call(Api.around)
    export_user = _call(Api.export_user)
    entries = _call(Api.entries)
    status = _call(Api.status)
    health = _call(Api.health)
    metrics = _call(Api.metrics)
    stream_top = _feed(Api.stream_top)
    stream_rank = _feed(Api.stream_rank)
    events_top = _feed(Api.events_top)
    events_rank = _feed(Api.events_rank)

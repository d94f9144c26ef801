"""Build the calls that read one board: pages and ranges, ranks, neighbours, live feeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leaderboard_client import reading
from leaderboard_client.calls import Call, QueryValue, given, segment
from leaderboard_client.feeds import EventFeed, LiveRank, LiveTop, RankFeed, Stream, TopFeed
from leaderboard_client.results import Around, Page, Rank, Ranks
from leaderboard_client.session import Session
from leaderboard_client.sse import Event

GLOBAL = "GLOBAL"


class BoardReads(Session):
    """Reads of one board. An omitted user_id means the player who registered or logged in."""

    def top(
        self, region: str = GLOBAL, *, limit: int = 100, offset: int | None = None, cursor: str | None = None
    ) -> Call[Page]:
        """Return a page of a board: `limit` (1-1,000) rows from the top, from `offset`, or from a `next_cursor`.

        Players of one score share a rank (1, 1, 3) and come by descending bytes of user_id.
        Raises InvalidRequest with the code unknown_region and the known ones in `details["regions"]`.
        """
        return self._page("/top", region, {"limit": limit, "offset": offset, "cursor": cursor})

    def iter_top(self, region: str = GLOBAL, *, page_size: int = 1000) -> Call[Page]:
        """Iterate over every row of a board, fetched page by page.

        A player whose score does not change meanwhile comes exactly once; one whose does may come twice or not at all.
        Ranks are those of the moment of each page.
        """
        return self.top(region, limit=page_size)

    def range_by_score(
        self,
        minimum: int | None = None,
        maximum: int | None = None,
        *,
        region: str = GLOBAL,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Call[Page]:
        """Return the rows with minimum <= score <= maximum, best first; either bound may be omitted, not both."""
        return self._page("/range", region, {"min": minimum, "max": maximum, "limit": limit, "cursor": cursor})

    def iter_range_by_score(
        self, minimum: int | None = None, maximum: int | None = None, *, region: str = GLOBAL, page_size: int = 1000
    ) -> Call[Page]:
        """Iterate over every row with minimum <= score <= maximum, page by page, like `iter_top`."""
        return self.range_by_score(minimum, maximum, region=region, limit=page_size)

    def range_by_rank(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        region: str = GLOBAL,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Call[Page]:
        """Return the rows whose rank is within first..last, 1-based, both included; either may be omitted, not both."""
        return self._page("/range", region, {"from": first, "to": last, "limit": limit, "cursor": cursor})

    def iter_range_by_rank(
        self, first: int | None = None, last: int | None = None, *, region: str = GLOBAL, page_size: int = 1000
    ) -> Call[Page]:
        """Iterate over every row whose rank is within first..last, page by page, like `iter_top`."""
        return self.range_by_rank(first, last, region=region, limit=page_size)

    def rank(self, user_id: str | None = None, *, region: str = GLOBAL) -> Call[Rank]:
        """Return a player's rank: 1 + the number of players with a strictly higher score. Raises NotFound."""
        path = f"/rank/{segment(self.own(user_id))}"
        return Call("GET", path, reading.rank, query=self._rows(region))

    def ranks(self, user_ids: Iterable[str], *, region: str = GLOBAL) -> Call[Ranks]:
        """Rank up to 1,000 players (friends) among themselves and on the board; unknown ones are listed, not raised."""
        body = given(
            {"user_ids": list(user_ids), "region": region}, board=self.named_board, metadata=self.metadata or None
        )
        return Call("POST", "/ranks", reading.ranks, body=body)

    def around(self, user_id: str | None = None, *, region: str = GLOBAL, reach: int = 10) -> Call[Around]:
        """Return a player and up to `reach` (1-100) rows above and below it. Raises NotFound."""
        path = f"/around/{segment(self.own(user_id))}"
        return Call("GET", path, reading.around, query=self._rows(region, range=reach))

    def stream_top(self, region: str = GLOBAL, *, limit: int = 10, max_outage: float | None = None) -> Stream[LiveTop]:
        """Follow the best `limit` (1-100) rows of a board: yields the whole state whenever it changes.

        A broken connection is resumed after the last event. The first one must be made within the client's
        `max_wait`; later `max_outage` seconds without one raise, unless it is None.
        """
        return Stream(
            "/stream/top",
            TopFeed(),
            self._rows(region, limit=limit),
            max_outage=max_outage,
        )

    def stream_rank(
        self,
        user_id: str | None = None,
        *,
        region: str = GLOBAL,
        reach: int = 2,
        max_outage: float | None = None,
    ) -> Stream[LiveRank]:
        """Follow a player and `reach` (0-10) neighbours on each side, as `stream_top` does; ends when it is deleted.

        Raises NotFound when there is no such player.
        """
        path, query = self._rank_stream(user_id, region, reach)
        return Stream(path, RankFeed(), query, max_outage=max_outage)

    def events_top(
        self,
        region: str = GLOBAL,
        *,
        limit: int = 10,
        last_event_id: str = "",
        max_outage: float | None = None,
    ) -> Stream[Event]:
        """Follow the raw events of `stream_top`, from the start or after a given event."""
        return Stream(
            "/stream/top",
            EventFeed(),
            self._rows(region, limit=limit),
            last_event_id,
            max_outage,
        )

    def events_rank(
        self,
        user_id: str | None = None,
        *,
        region: str = GLOBAL,
        reach: int = 2,
        last_event_id: str = "",
        max_outage: float | None = None,
    ) -> Stream[Event]:
        """Follow the raw events of `stream_rank`, from the start or after a given event."""
        path, query = self._rank_stream(user_id, region, reach)
        return Stream(path, EventFeed(), query, last_event_id, max_outage)

    def _rank_stream(self, user_id: str | None, region: str, reach: int) -> tuple[str, dict[str, QueryValue]]:
        return f"/stream/rank/{segment(self.own(user_id))}", self._rows(region, range=reach)

    def _page(self, path: str, region: str, query: Mapping[str, QueryValue]) -> Call[Page]:
        return Call("GET", path, reading.page, query={**self._query(region), **query, "metadata": self._asked})

    def _query(self, region: str, **query: QueryValue) -> dict[str, QueryValue]:
        return {"board": self.named_board, "region": region, **query}

    def _rows(self, region: str, **query: QueryValue) -> dict[str, QueryValue]:
        return self._query(region, **query) | {"metadata": self._asked}

    @property
    def _asked(self) -> str | None:
        """Whether rows are to have metadata, as a call says it."""
        return "true" if self.metadata else None

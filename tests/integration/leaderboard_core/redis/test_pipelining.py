"""Automatic pipelining against a real Redis: every caller gets its own answer, or an error that says which."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis.asyncio as redis
from redis.exceptions import ConnectionError, NoScriptError, ResponseError, TimeoutError

from leaderboard_core.redis.admission import Ask
from leaderboard_core.redis.pipelining import Pipeliner
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.infrastructure import Infrastructure
from tests.support.own_redis import OwnRedis
from tests.support.proxy import proxy
from tests.support.waiting import eventually

TIMEOUT = 0.5


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    own = OwnRedis(tmp_path)
    own.start()
    yield own
    own.stop()


@pytest.fixture
def url(infra: Infrastructure) -> str:
    return infra.redis_urls[0]


@asynccontextmanager
async def pipelining(url: str, timeout: float = TIMEOUT) -> AsyncIterator[Pipeliner]:
    settings = {"REDIS_URL": url, "REDIS_TIMEOUT_SECONDS": str(timeout)}
    shard_map = ShardMap.open(load(TopologySettings, settings))
    try:
        yield shard_map.shards[0].pipeliner
    finally:
        await shard_map.close()


async def test_every_caller_gets_its_own_answer(url: str) -> None:
    async with pipelining(url) as pipeliner:

        async def caller(number: int) -> None:
            for turn in range(20):
                text = f"{number} {turn} " + "x" * random.choice((0, 10, 70_000))
                assert await pipeliner.execute(("ECHO", text)) == text

        await asyncio.gather(*(caller(number) for number in range(30)))


async def test_one_turn_of_the_loop_is_one_write(url: str) -> None:
    async with proxy(url) as between, pipelining(between.url) as pipeliner:
        await pipeliner.execute(("PING",))
        between.hold()
        answers = [pipeliner.execute(("ECHO", str(number))) for number in range(50)]

        async def arrived() -> bool:
            return between.held_bytes.count(b"ECHO") == 50

        await eventually(arrived)
        between.release()
        assert await asyncio.gather(*answers) == [str(number) for number in range(50)]


async def test_an_error_is_of_its_own_command_only(url: str) -> None:
    async with pipelining(url) as pipeliner:
        commands = [("PING",), ("NONSENSE",), ("EVALSHA", "0" * 40, 0), ("LLEN",), ("ECHO", "last")]
        answers = await asyncio.gather(*(pipeliner.execute(each) for each in commands), return_exceptions=True)
        assert [type(each) for each in answers] == [str, ResponseError, NoScriptError, ResponseError, str]
        assert (answers[0], answers[-1]) == ("PONG", "last")


async def test_a_caller_that_went_away_does_not_shift_the_answers(url: str) -> None:
    async with proxy(url) as between, pipelining(between.url) as pipeliner:
        await pipeliner.execute(("PING",))
        between.hold_answers()
        seen = between.answers_seen
        first, second = pipeliner.execute(("ECHO", "first")), pipeliner.execute(("ECHO", "second"))

        async def answered() -> bool:
            return between.answers_seen > seen

        await eventually(answered)
        first.cancel()
        between.release_answers()
        assert await second == "second"
        assert await pipeliner.execute(("ECHO", "third")) == "third"


async def test_a_redis_that_says_nothing_is_given_up_and_its_late_answers_are_nobodys(own: OwnRedis) -> None:
    async with pipelining(own.url) as pipeliner:
        assert await pipeliner.execute(("SET", "key", "before"))
        own.signal(signal.SIGSTOP)
        try:
            loop = asyncio.get_running_loop()
            before = loop.time()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pipeliner.execute(("ECHO", "late")), 10)
            assert loop.time() - before > TIMEOUT * 0.9
        finally:
            own.signal(signal.SIGCONT)
        assert await pipeliner.execute(("GET", "key")) == "before"


async def test_a_busy_redis_that_goes_on_answering_is_not_silent(own: OwnRedis) -> None:
    script = "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + 1 end return n"
    loop = asyncio.get_running_loop()
    limit = 2.0
    async with pipelining(own.url, limit) as pipeliner:

        async def timed(turns: int) -> float:
            before = loop.time()
            assert await pipeliner.execute(("EVAL", script, 0, turns)) == turns
            return loop.time() - before

        sample = 1_000_000
        turns = int(sample * limit / 20 / min([await timed(sample) for _ in range(3)]))
        before = loop.time()

        async def chain(delay: float) -> None:
            await asyncio.sleep(delay)  # so that an answer is always awaited when another comes
            while loop.time() - before < limit * 1.3:
                await timed(turns)

        await asyncio.gather(chain(0), chain(limit / 40))


async def test_a_restart_is_an_error_for_who_waits_and_nothing_for_who_comes_later(own: OwnRedis) -> None:
    async with pipelining(own.url) as pipeliner:
        await pipeliner.execute(("PING",))
        asked = pipeliner.execute(("BLPOP", "nothing", 0))

        async def waits() -> bool:
            async with redis.Redis.from_url(own.url) as client:
                return int((await client.info("clients"))["blocked_clients"]) == 1

        await eventually(waits)
        await asyncio.to_thread(own.stop)
        with pytest.raises(ConnectionError):
            await asked
        with pytest.raises(ConnectionError):
            await pipeliner.execute(("PING",))
        await asyncio.to_thread(own.start)
        assert await pipeliner.execute(("PING",)) == "PONG"


async def test_a_connection_that_broke_while_idle_costs_nobody_a_command(url: str) -> None:
    async with proxy(url) as between, pipelining(between.url) as pipeliner:
        for number in range(10):
            assert await pipeliner.execute(("ECHO", str(number))) == str(number)
            await between.drop_clients()


async def test_a_connection_that_cannot_be_made_is_an_error_for_all_who_asked(url: str) -> None:
    async with proxy(url) as between, pipelining(between.url) as pipeliner:
        await between.cut()
        answers = await asyncio.gather(*(pipeliner.execute(("PING",)) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in answers} == {ConnectionError}
        await between.open()
        assert await pipeliner.execute(("PING",)) == "PONG"


@pytest.mark.parametrize("delays", [[], [0], [0, 0], [0, 0, 0], [0.001], [0.05]])
async def test_close_leaves_nobody_waiting(own: OwnRedis, delays: list[float]) -> None:
    """Whether the connection is not begun, about to be made, being made, or open."""
    async with pipelining(own.url) as pipeliner:
        waiting = pipeliner.execute(("BLPOP", "nothing", 0))
        for delay in delays:
            await asyncio.sleep(delay)
        await pipeliner.close()
        with pytest.raises(ConnectionError, match="closed"):
            await asyncio.wait_for(waiting, 5)
        assert await asyncio.wait_for(pipeliner.execute(("PING",)), 5) == "PONG", "as after a restart"


async def test_what_is_not_redis_is_an_error(own: OwnRedis) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            greeting = data.count(b"CLIENT") or data.count(b"SELECT") or data.count(b"HELLO")
            writer.write(b"+OK\r\n" * greeting if greeting else b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with pipelining(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as pipeliner:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(pipeliner.execute(("PING",)), 5)
    server.close()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives `answer` to each LOOK, or none; yields its URL, and what it saw."""
    seen: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while data := await reader.read(65_536):
                if b"LOOK" not in data:
                    writer.write(b"+OK\r\n" * data.count(b"*"))
                    continue
                seen.append("LOOK")
                if answer is not None:
                    writer.write(answer)
        seen.append("end")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2", seen


async def look_twice(ask: Ask) -> None:
    await ask("LOOK")
    await ask("LOOK")


async def test_a_connection_that_ends_between_two_questions_of_a_greeting_is_an_error() -> None:
    """Its end may come with the first answer."""
    async with answering(b"+OK\r\n+nobody asked\r\n") as (url, _), pipelining(url) as pipeliner:
        pipeliner.greet = look_twice
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(pipeliner.execute(("PING",)), 5)


async def test_a_close_in_the_midst_of_a_greeting_ends_the_connection() -> None:
    async with answering(None) as (url, seen), pipelining(url, timeout=30) as pipeliner:
        pipeliner.greet = look_twice
        waiting = pipeliner.execute(("PING",))
        await eventually(lambda: seen == ["LOOK"], "a greeting")
        await pipeliner.close()
        with pytest.raises(ConnectionError, match="closed"):
            await waiting
        await eventually(lambda: seen == ["LOOK", "end"], "the end of the connection", seconds=5)

"""Kill Redis under load in three ways, and count the acknowledged writes that are gone."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import httpx
import redis

from benchmarks.durability.disk import SlowRedis
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from leaderboard_core.redis.keys import Keys
from tests.support.waiting import wait_until

WRITERS = 32
WAYS = ("killed process", "power cut", "failover")
_LEAST_SECONDS, _MOST_SECONDS = 1.2, 2.4
_RECOVERY_SECONDS = 60.0


@dataclass
class Writer:
    """A player of its own, with the time of each acknowledged write of 1."""

    user_id: str
    token: str
    acknowledged: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Loss:
    """Acknowledged writes that Redis alone, and the system after its recovery, have lost; their greatest age, ms."""

    rate: float
    redis: int
    system: int
    oldest_ms: float


@dataclass(frozen=True)
class Trial:
    """The parts of a trial. The service at `url` and a worker run all the time; Redis only within `measure`."""

    server: SlowRedis
    replica: RedisServer
    url: str
    writers: Sequence[Writer]

    def measure(self, way: str, delay_us: int, chance: random.Random) -> Loss:
        """Kill Redis under load once, in one of WAYS; the system has recovered when this returns."""
        with ExitStack() as stack:
            stack.enter_context(running(self.server))
            self._wait_writable()
            before = self._scores()
            if way == "failover":
                stack.enter_context(running(self.replica))
                self._replicate()
            self.server.disk.set_delay(delay_us)
            began = time.time()
            died = asyncio.run(self._write_until_killed(chance.uniform(_LEAST_SECONDS, _MOST_SECONDS)))
        self.server.disk.set_delay(0)  # the recovery is not what is measured
        if way == "power cut":
            self.server.disk.cut_power(self.server.folder)
        if way == "failover":  # its replica takes its place, at the same address
            shutil.rmtree(self.server.folder)
            shutil.move(self.replica.folder, self.server.folder)
        with running(self.server):
            in_redis = self._scores()
            self._wait_writable()
            after = self._scores()
        counts = {writer.user_id: len(writer.acknowledged) for writer in self.writers}
        lost = {who: max(0, before[who] + count - after[who]) for who, count in counts.items()}
        lost_by_redis = sum(max(0, before[who] + count - in_redis[who]) for who, count in counts.items())
        ages = [died - writer.acknowledged[-lost[writer.user_id]] for writer in self.writers if lost[writer.user_id]]
        rate = sum(counts.values()) / (died - began)
        return Loss(rate, lost_by_redis, sum(lost.values()), 1000 * max([0.0, *ages]))

    def _scores(self) -> dict[str, int]:
        keys = Keys()
        with redis.Redis.from_url(self.server.url) as client:
            return {
                writer.user_id: int(client.hget(keys.user(writer.user_id), "score") or 0) for writer in self.writers
            }

    def _replicate(self) -> None:
        """Attach the replica and wait until it has everything."""
        with redis.Redis.from_url(self.replica.url) as client:
            client.replicaof("127.0.0.1", self.server.port)
            wait_until(
                lambda: client.info("replication").get("master_link_status") == "up",
                "the replica",
                seconds=_RECOVERY_SECONDS,
            )

    def _wait_writable(self) -> None:
        """Wait until writes are answered; the write of it counts for a player who writes nothing later."""

        def writes() -> bool:
            try:
                response = httpx.post(f"{self.url}/score/add", headers=_bearer(self.writers[0]), json={"delta": 0})
            except httpx.TransportError:
                return False
            return response.status_code == 200

        wait_until(writes, "the first write", seconds=_RECOVERY_SECONDS)

    async def _write_until_killed(self, seconds: float) -> float:
        """Write for so long, then kill Redis in the middle; return the time of the kill."""
        with redis.Redis.from_url(self.server.url) as client:
            pid: int = client.info("server")["process_id"]
        stop = asyncio.Event()
        async with httpx.AsyncClient(base_url=self.url, timeout=20, limits=httpx.Limits(max_connections=None)) as http:
            tasks = [asyncio.create_task(_write(http, writer, stop)) for writer in self.writers]
            await asyncio.sleep(seconds)
            died = time.time()
            os.kill(pid, signal.SIGKILL)
            stop.set()
            await asyncio.gather(*tasks)
        return died


async def _write(http: httpx.AsyncClient, writer: Writer, stop: asyncio.Event) -> None:
    """Add 1 as often as it goes, and note each acknowledgement. The last one may come after the kill."""
    writer.acknowledged = []
    headers = _bearer(writer)
    while not stop.is_set():
        with suppress(httpx.TransportError):
            response = await http.post("/score/add", headers=headers, json={"delta": 1})
            if response.status_code == 200:
                writer.acknowledged.append(time.time())


def _bearer(writer: Writer) -> dict[str, str]:
    return {"Authorization": f"Bearer {writer.token}"}

"""What a running service holds: typed, made once in the lifespan, found through the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leaderboard_core.errors import UnknownRegion
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import QueueProbe
from leaderboard_core.redis.shards import ShardMap
from leaderboard_core.settings import (
    AuthSettings,
    LimitSettings,
    ProcessSettings,
    StreamSettings,
    TopologySettings,
    load,
)
from leaderboard_core.telemetry.gauges import Gauges
from leaderboard_core.telemetry.health import HealthProbe
from leaderboard_core.tokens import Tokens
from leaderboard_service.accounts.service import Accounts
from leaderboard_service.boards.coalescing import SharedReads
from leaderboard_service.boards.postgres_boards import PostgresBoards
from leaderboard_service.boards.redis_boards import BoardReader
from leaderboard_service.boards.service import Reads
from leaderboard_service.live.service import Hub
from leaderboard_service.players.deletion import Remover
from leaderboard_service.players.export import Profiles
from leaderboard_service.players.service import Players
from leaderboard_service.scores.batches import BatchWriter
from leaderboard_service.scores.service import ScoreWriter


@dataclass(frozen=True, slots=True)
class Settings:
    """Every settings group that the service reads."""

    process: ProcessSettings
    topology: TopologySettings
    auth: AuthSettings
    limits: LimitSettings
    stream: StreamSettings

    @classmethod
    def from_environment(cls, process: ProcessSettings) -> Settings:
        """Raises SettingsError."""
        return cls(process, load(TopologySettings), load(AuthSettings), load(LimitSettings), load(StreamSettings))


@dataclass(slots=True)
class Services:
    """The parts that routes call."""

    process: ProcessSettings
    regions: tuple[str, ...]
    shard_map: ShardMap
    databases: RegionDatabases
    tokens: Tokens
    writer: ScoreWriter
    batches: BatchWriter
    reads: Reads
    live: Hub
    accounts: Accounts
    profiles: Profiles
    remover: Remover
    health: HealthProbe
    queues: QueueProbe
    gauges: Gauges
    shared: SharedReads[Any]
    stopping: bool = False

    @classmethod
    async def open(cls, settings: Settings) -> Services:
        """Make the parts; no server is contacted yet."""
        shard_map = ShardMap.open(settings.topology)
        databases = await RegionDatabases.open(settings.topology)
        players = Players(shard_map, settings.limits)
        writer = ScoreWriter(shard_map, settings.limits, players)
        health, queues = HealthProbe(shard_map, databases), QueueProbe(shard_map)
        reads = Reads(BoardReader(shard_map), PostgresBoards(databases))
        return cls(
            process=settings.process,
            regions=settings.topology.regions,
            shard_map=shard_map,
            databases=databases,
            tokens=Tokens(settings.auth),
            writer=writer,
            batches=BatchWriter(shard_map, settings.limits, writer),
            reads=reads,
            live=Hub(reads, settings.stream),
            accounts=Accounts(writer, players, databases, settings.auth),
            profiles=Profiles(players, databases, reads),
            remover=Remover(shard_map, databases, players, settings.auth, settings.limits),
            health=health,
            queues=queues,
            gauges=Gauges(shard_map, health, queues),
            shared=SharedReads(),
        )

    async def close(self) -> None:
        self.live.stop()
        await self.shard_map.close()
        await self.databases.close()

    def region(self, text: str) -> str:
        """A region's name as it is stored. Raises UnknownRegion, which lists the known ones."""
        name = text.upper() if text.isascii() else text  # "ſ".upper() is "S"
        if name not in self.regions:
            raise UnknownRegion(text, self.regions)
        return name

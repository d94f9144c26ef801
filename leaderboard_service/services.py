"""Builds the services of a running replica, once in the lifespan, for the dependencies to find."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from leaderboard_core.http.client_address import ClientAddresses
from leaderboard_core.http.origins import Origins
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.redis.watch import Watch
from leaderboard_core.settings import (
    AuthSettings,
    LimitSettings,
    ProcessSettings,
    StreamSettings,
    TopologySettings,
    load,
)
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.board_counters import BoardCounters
from leaderboard_core.telemetry.gauges import Gauges
from leaderboard_core.telemetry.health import HealthProbe
from leaderboard_core.telemetry.queues import QueueProbe
from leaderboard_core.tokens import Tokens
from leaderboard_service.accounts.changes import CredentialChanges
from leaderboard_service.accounts.hashing import PasswordHashing
from leaderboard_service.accounts.passwords import PasswordStore
from leaderboard_service.accounts.service import Accounts
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.boards.places import Places
from leaderboard_service.boards.postgres_boards import PostgresBoards
from leaderboard_service.boards.redis_boards import RedisBoards
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.definitions.known import KnownBoards
from leaderboard_service.definitions.service import Definitions
from leaderboard_service.definitions.store import DefinitionStore
from leaderboard_service.live.service import Hub
from leaderboard_service.players.deletion import PlayerDeleter
from leaderboard_service.players.entries import PlayerEntries
from leaderboard_service.players.export import PlayerExporter
from leaderboard_service.players.postgres_entries import PostgresEntries
from leaderboard_service.players.redis_entries import RedisEntries
from leaderboard_service.players.service import Players
from leaderboard_service.regions import Regions
from leaderboard_service.scores.batches import BatchWriter
from leaderboard_service.scores.removal import EntryRemover
from leaderboard_service.scores.service import ScoreWriter
from leaderboard_service.system.service import SystemStatus


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
        """Load every group. Raises SettingsError."""
        return cls(process, load(TopologySettings), load(AuthSettings), load(LimitSettings), load(StreamSettings))


@dataclass(frozen=True, slots=True)
class Services:
    """The services of a replica; dependencies find each by the name of its field."""

    shard_map: ShardMap
    shard_watch: Watch
    databases: RegionDatabases
    regions: Regions
    places: Places
    tokens: Tokens
    client_addresses: ClientAddresses
    origins: Origins
    score_writer: ScoreWriter
    batch_writer: BatchWriter
    entry_remover: EntryRemover
    board_reads: BoardReads
    postgres_boards: PostgresBoards
    definitions: Definitions
    known_boards: KnownBoards
    page_coalescer: RequestCoalescer[JSONReply]
    live_hub: Hub
    accounts: Accounts
    credential_changes: CredentialChanges
    password_hashing: PasswordHashing
    player_export: PlayerExporter
    player_entries: PlayerEntries
    player_deletion: PlayerDeleter
    system_status: SystemStatus

    @classmethod
    async def open(cls, settings: Settings) -> Services:
        """Build all services; no server is contacted yet."""
        shard_map = ShardMap.open(settings.topology, tracing.script_span())
        databases = await RegionDatabases.open(settings.topology)
        players = Players(shard_map, settings.limits)
        store = DefinitionStore(shard_map, databases)
        known = KnownBoards(store, settings.limits)
        counters = BoardCounters(settings.limits.metrics_boards)
        writer = ScoreWriter(shard_map, settings.limits, players, known, counters)
        health, queues = HealthProbe(shard_map, databases), QueueProbe(shard_map)
        process, addresses = settings.process, ClientAddresses(settings.process.trusted_proxies)
        gauges = Gauges(shard_map, health, queues)
        regions = Regions(settings.topology.regions)
        places = Places(regions, known)
        postgres_boards, hashing = PostgresBoards(databases), PasswordHashing(settings.auth)
        redis_boards = RedisBoards(shard_map)
        reads = BoardReads(redis_boards, postgres_boards, places, counters)
        entries = PlayerEntries(
            RedisEntries(shard_map, redis_boards), PostgresEntries(databases, postgres_boards), places
        )
        passwords = PasswordStore(databases, hashing)
        accounts = Accounts(writer, players, passwords, settings.auth)
        return cls(
            shard_map=shard_map,
            shard_watch=Watch(shard_map),
            databases=databases,
            regions=regions,
            places=places,
            tokens=Tokens(settings.auth),
            client_addresses=addresses,
            origins=Origins(addresses, cors_origins=process.cors_origins, allowed_hosts=process.allowed_hosts),
            score_writer=writer,
            batch_writer=BatchWriter(shard_map, writer),
            entry_remover=EntryRemover(shard_map, settings.limits, players, known),
            board_reads=reads,
            postgres_boards=postgres_boards,
            definitions=Definitions(store, reads, settings.topology.regions, settings.limits),
            known_boards=known,
            page_coalescer=RequestCoalescer(),
            live_hub=Hub(reads, places, settings.stream),
            accounts=accounts,
            credential_changes=CredentialChanges(accounts, passwords, players, writer),
            password_hashing=hashing,
            player_export=PlayerExporter(players, databases, reads, entries),
            player_entries=entries,
            player_deletion=PlayerDeleter(shard_map, databases, players, settings.auth, settings.limits),
            system_status=SystemStatus(settings.process.instance_name, health, queues, gauges),
        )

    def state(self) -> dict[str, Any]:
        """Return the state of the lifespan."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def announce_stop(self) -> None:
        """Let /health tell the gateways that this replica is stopping, and end all streams."""
        self.system_status.stopping = True
        self.live_hub.stop()

    async def close(self) -> None:
        """End all streams, and close the connections to the stores."""
        self.live_hub.stop()
        self.password_hashing.close()
        await self.shard_watch.close()
        await self.shard_map.close()
        await self.postgres_boards.close()
        await self.databases.close()

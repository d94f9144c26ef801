"""Test what a database says of imports to a rebuild: whether rows may be missing that are older than their commit."""

from __future__ import annotations

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import has_been_admitted
from leaderboard_core.postgres.imports import imported_since, note_begun, note_ended


async def test_a_rebuild_hears_of_an_import_until_its_redis_has_written_later(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    assert not await imported_since(pool, "EU 1/2", 0)
    for _ in range(2):
        await note_begun(pool, "EU 1/2")
        assert await imported_since(pool, "EU 1/2", 10**15)
    await note_ended(pool, "EU 1/2", 500)
    assert [await imported_since(pool, "EU 1/2", micros) for micros in (499, 500, 501)] == [True, True, False]
    await note_begun(pool, "EU 1/2")
    assert await imported_since(pool, "EU 1/2", 501)
    assert not await imported_since(pool, "EU 2/2", 0)
    assert not await has_been_admitted(pool, "EU")

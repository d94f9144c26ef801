"""Keep in the databases over how many Redis the players of each region are spread, and the id of the whole.

These are rows of `admissions` under names that no region can have, as those of restores are. The names of admissions
say it too: `EU`, or `EU 1/4` for a part of its players. A row says as well that players are being spread anew.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.postgres.fencing import Connection, exclusive

_LAYOUT = "*layout"
_PARTITIONS = "*partitions"
_REPARTITION = "*repartition"

Stage = Literal["drain", "switch"]


class Repartition(NamedTuple):
    """Players of some regions are being spread over `partitions` Redis, whose URLs have the hash `target`.

    In the stage `drain` it can be called off; from `switch` on it can only be gone on with. `run` names the command
    that does it: one that was paused, and another has taken over, finds that it is not its own any more.
    """

    stage: Stage
    regions: str
    partitions: int
    target: str
    run: str

    def encode(self) -> str:
        return f"{self.stage} {self.regions} {self.partitions} {self.target} {self.run}"


async def partitions_of(asked: Pool | Connection, region: str) -> int | None:
    """Read over how many Redis a region's players are spread; None when none has been admitted.

    Admissions of the version before say nothing of it, and were for one. Raises asyncpg's errors.
    """
    found: Any = await asked.fetchval(sql.load("admission_of"), f"{_PARTITIONS} {region}")
    if found is not None:
        return int(found)
    return 1 if await asked.fetchval(sql.load("admission_of"), region) is not None else None


async def set_partitions(pool: Pool, region: str, count: int) -> None:
    """Say over how many Redis a region's players are spread, where nothing says it yet. Raises asyncpg's errors."""
    async with exclusive(pool) as connection:
        # On this connection: others of the pool may all be waiting for the lock that it has.
        if await partitions_of(connection, region) is None:
            await connection.execute(sql.load("set_admission"), f"{_PARTITIONS} {region}", str(count))


async def change_partitions(pool: Pool, region: str, count: int) -> None:
    """Say over how many Redis a region's players are spread from now on. Raises asyncpg's errors.

    Whatever was read under an admission from before changes nothing any more.
    """
    async with exclusive(pool) as connection:
        await connection.execute(sql.load("forget_admissions"), region)
        await connection.execute(sql.load("set_admission"), f"{_PARTITIONS} {region}", str(count))


async def settle_layout_id(pool: Pool, proposed: str) -> str:
    """Return the id of the layout; `proposed` becomes it where there is none. Raises asyncpg's errors."""
    await pool.execute(sql.load("propose_admission"), _LAYOUT, proposed)
    found: str = await pool.fetchval(sql.load("admission_of"), _LAYOUT)
    return found


async def forget_layout(pool: Pool, region: str) -> None:
    """Forget a region's admissions, and over how many Redis it was spread. Raises asyncpg's errors."""
    await pool.execute(sql.load("forget_admissions"), region)
    await pool.execute(sql.load("forget_admission"), f"{_PARTITIONS} {region}")


async def read_repartition(pool: Pool) -> Repartition | None:
    """Read from GLOBAL's database whether players are being spread anew. Raises asyncpg's errors."""
    found: Any = await pool.fetchval(sql.load("admission_of"), _REPARTITION)
    if found is None:
        return None
    stage, regions, partitions, target, run = found.split(" ")
    return Repartition(cast(Stage, stage), regions, int(partitions), target, run)


async def note_repartition(pool: Pool, repartition: Repartition) -> None:
    """Say in GLOBAL's database that players are being spread anew: no Redis is admitted meanwhile. As the above."""
    await pool.execute(sql.load("set_admission"), _REPARTITION, repartition.encode())


async def replace_repartition(pool: Pool, before: Repartition, after: Repartition) -> bool:
    """Replace what is said, unless another command has; whether it was replaced. Raises asyncpg's errors."""
    found: Any = await pool.fetchval(sql.load("replace_admission"), _REPARTITION, before.encode(), after.encode())
    return found is not None


async def end_repartition(pool: Pool, mark: Repartition) -> None:
    """Let Redis be admitted again, unless another one has begun since. Raises asyncpg's errors."""
    await pool.execute(sql.load("end_admission"), _REPARTITION, mark.encode())

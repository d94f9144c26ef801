"""Say in a region's database until when rows came into it that have earlier times than their commit: an import's.

Whoever reads only what changed after a moment would overlook them. Both are rows of `admissions`, under names that no
region can have: they are read where admissions are.
"""

from __future__ import annotations

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool

_BEGUN = "begun"


async def note_begun(pool: Pool, part: str) -> None:
    """Say that rows are coming into a region, or a part of it, named as its fence is. Raises asyncpg's errors."""
    if await pool.fetchval(sql.load("admission_of"), _name(part)) != _BEGUN:
        await pool.execute(sql.load("set_admission"), _name(part), _BEGUN)


async def note_ended(pool: Pool, part: str, micros: int) -> None:
    """Say that all of them were in its Redis too at that time on its clock (µs). Raises asyncpg's errors."""
    await pool.execute(sql.load("set_admission"), _name(part), str(micros))


async def imported_since(pool: Pool, part: str, micros: int) -> bool:
    """Whether a Redis that has kept what was done until that time (µs) may lack such rows. Raises asyncpg's errors."""
    found = await pool.fetchval(sql.load("admission_of"), _name(part))
    return found is not None and (found == _BEGUN or int(found) >= micros)


def _name(part: str) -> str:
    return f"*imported {part}"

"""Leave the connections of a pool of redis-py without breaking the calls that are on them."""

from __future__ import annotations

import redis.asyncio as redis


async def leave_connections(pool: redis.ConnectionPool) -> None:
    """Close every connection that is idle, and let those in use be closed when they are given back."""
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
    # One after the other and without waiting for the close: nobody can take a connection from the pool in between, as
    # during the pool's own disconnect().
    for connection in list(pool._available_connections):
        await connection.disconnect(nowait=True)

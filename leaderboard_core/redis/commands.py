"""List every command and key that the system uses on a Redis, and try which of them a user is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from redis.exceptions import RedisError, ResponseError

from leaderboard_core.redis.error_codes import code_of, explain
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.shard import Shard

Words: TypeAlias = tuple[str | int, ...]

# No player's: a user_id has no "/".
_NOBODY = "leaderboard/check"
_KEYS = Keys()
_BOARD, _USER, _QUEUE = _KEYS.board(_NOBODY), _KEYS.user(_NOBODY), _KEYS.queue(_NOBODY)
_LIST = _KEYS.processing(_NOBODY, _NOBODY)
_NAMES: Words = (_BOARD, "BY", "nosort", "GET", f"{_KEYS.user('*')}->name")

COMMANDS: Mapping[str, Words] = {
    "BLMOVE": (_QUEUE, _LIST, "RIGHT", "LEFT", 1),
    "DEL": (_USER,),
    "EVAL": ("return 1", 0),
    "EVALSHA": ("0" * 40, 0),
    "EXISTS": (_USER,),
    "EXPIRE": (_USER, 1),
    "GET": (_USER,),
    "HDEL": (_USER, "name"),
    "HGET": (_USER, "name"),
    "HMGET": (_USER, "name"),
    "HSET": (_USER, "name", ""),
    "INFO": ("server",),
    "LINDEX": (_QUEUE, 0),
    "LLEN": (_QUEUE,),
    "LMOVE": (_QUEUE, _LIST, "RIGHT", "LEFT"),
    "LPUSH": (_QUEUE, ""),
    "LRANGE": (_QUEUE, 0, 0),
    "LREM": (_QUEUE, 0, ""),
    "PEXPIRE": (_USER, 1),
    "PEXPIREAT": (_USER, 1),
    "PEXPIRETIME": (_USER,),
    "PING": (),
    "PTTL": (_USER,),
    "RPOP": (_QUEUE,),
    "RPUSH": (_QUEUE, ""),
    "SCRIPT LOAD": ("return 1",),
    "SET": (_USER, ""),
    "SORT_RO": _NAMES,
    "TIME": (),
    "ZADD": (_BOARD, 0, _NOBODY),
    "ZCARD": (_BOARD,),
    "ZCOUNT": (_BOARD, 0, 0),
    "ZMSCORE": (_BOARD, _NOBODY),
    "ZRANGE": (_BOARD, 0, 0),
    "ZREM": (_BOARD, _NOBODY),
    "ZREVRANGE": (_BOARD, 0, 0),
    "ZREVRANK": (_BOARD, _NOBODY),
    "ZSCAN": (_BOARD, 0),
    "ZSCORE": (_BOARD, _NOBODY),
}
"""What scripts and clients use, each with words for a trial."""

OPTIONAL: Mapping[str, str] = {
    "CONFIG GET": "warnings of a configuration that loses data",
    "CONFIG SET": "a rebuild that puts off rewrites of the append-only file",
    "CLIENT SETINFO": "the client's name in CLIENT LIST",
    "SCAN": "`leaderboard restore`, which empties Redis, or with --keep-redis looks for who was deleted",
}
"""What the system does without where it is refused, and what is missed then."""

TRANSACTION = ("MULTI", "EXEC", "DISCARD")
"""With these several commands are one step, and a trial changes nothing."""

KEY_PATTERNS = (
    *("leaderboard:*", "user:*", "queue:scores:*", "bucket:*", "idempotency:*"),
    *("claim:*", "deleted:*", "shard:*", "workers", "workers:*"),
)
"""What a user must be allowed to read and write: every name that `Keys` builds."""
READABLE = "%R~*"
"""SORT_RO takes names from the players' hashes only for a user who may read every key."""


def acl_line(user: str, password: str) -> str:
    """Write the command that makes a user who may do what the system does, and nothing else."""
    keys = " ".join(f"~{pattern}" for pattern in KEY_PATTERNS)
    names = (*COMMANDS, *OPTIONAL, *TRANSACTION)
    rights = " ".join(f"+{name.lower().replace(' ', '|')}" for name in sorted(names))
    return f"ACL SETUSER {user} on >{password} resetkeys {READABLE} {keys} -@all {rights}"


async def refusals(shard: Shard) -> list[str]:
    """Try every command and key; what is refused, each with the reason.

    They are queued in a transaction that is discarded: Redis checks a command when it is queued. (`ACL DRYRUN` would
    ask for rights that such a user does not have, and does not know of a command that a provider has renamed.) Raises
    redis-py's errors of connections.
    """
    connection = shard.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]

    async def ask(*words: str | int) -> RedisError | None:
        await connection.send_command(*words)
        try:
            await connection.read_response()
        except ResponseError as error:
            return error
        return None

    found: dict[str, None] = {}
    try:
        await connection.connect()
        if (error := await ask("MULTI")) is not None:
            return [_say("MULTI", error)]
        for name, words in COMMANDS.items():
            if (error := await ask(*name.split(), *words)) is not None:
                found[_say(name, error)] = None
        for pattern in KEY_PATTERNS:
            # It would change nothing if it were run.
            if (error := await ask("ZADD", pattern.replace("*", _NOBODY), "XX", 0, _NOBODY)) is not None:
                found[_say(f"the keys {pattern}" if "key" in str(error) else "ZADD", error)] = None
        if (error := await ask("DISCARD")) is not None:
            found[_say("DISCARD", error)] = None
        # What it needs beside its name is checked when it is run; the board is nobody's.
        if (error := await ask("SORT_RO", *_NAMES)) is not None:
            found[_say(f"SORT_RO with GET, which needs {READABLE}", error)] = None
    finally:
        await connection.disconnect(nowait=True)
    return list(found)


def _say(what: str, error: RedisError) -> str:
    if code_of(error) == "NOPERM":
        return f"its user may not use {what}"
    return explain(error) or f"{what}: {error}"

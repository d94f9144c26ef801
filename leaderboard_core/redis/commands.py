"""List every command and key that the system uses on a Redis, and try which of them a user is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from redis.exceptions import RedisError, ResponseError

from leaderboard_core.redis import lua
from leaderboard_core.redis.error_codes import code_of, explain
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.shard import Shard

Words: TypeAlias = tuple[str | int, ...]

# No player's: a user_id has no "/".
_NOBODY = "leaderboard/check"


def _trials(keys: Keys) -> Mapping[str, Words]:
    board, user, queue = keys.board(_NOBODY), keys.user(_NOBODY), keys.queue(_NOBODY)
    taken = keys.processing(_NOBODY, _NOBODY)
    return {
        "BLMOVE": (queue, taken, "RIGHT", "LEFT", 1),
        "DEL": (user,),
        "EVAL": ("return 1", 0),
        "EVALSHA": ("0" * 40, 0),
        "EXISTS": (user,),
        "EXPIRE": (user, 1),
        "GET": (user,),
        "HDEL": (user, "name"),
        "HGET": (user, "name"),
        "HKEYS": (user,),
        "HMGET": (user, "name"),
        "HSET": (user, "name", ""),
        "INFO": ("server",),
        "LINDEX": (queue, 0),
        "LLEN": (queue,),
        "LMOVE": (queue, taken, "RIGHT", "LEFT"),
        "LPUSH": (queue, ""),
        "LRANGE": (queue, 0, 0),
        "LREM": (queue, 0, ""),
        "MGET": (user,),
        "PEXPIRE": (user, 1),
        "PEXPIREAT": (user, 1),
        "PEXPIRETIME": (user,),
        "PING": (),
        "PTTL": (user,),
        "RPOP": (queue,),
        "RPUSH": (queue, ""),
        "SADD": (user, _NOBODY),
        "SCRIPT LOAD": ("return 1",),
        "SET": (user, ""),
        "SMEMBERS": (user,),
        "TIME": (),
        "ZADD": (board, 0, _NOBODY),
        "ZCARD": (board,),
        "ZCOUNT": (board, 0, 0),
        "ZMSCORE": (board, _NOBODY),
        "ZRANGE": (board, 0, 0),
        "ZREM": (board, _NOBODY),
        "ZREVRANGE": (board, 0, 0),
        "ZREVRANK": (board, _NOBODY),
        "ZSCAN": (board, 0),
        "ZSCORE": (board, _NOBODY),
        "ZUNIONSTORE": (board, 1, board),
    }


COMMANDS: Mapping[str, Words] = _trials(Keys())
"""What scripts and clients use, each with words for a trial."""

OPTIONAL: Mapping[str, str] = {
    "CONFIG GET": "warnings of a configuration that loses data",
    "CONFIG SET": "a rebuild that puts off rewrites of the append-only file",
    "CLIENT SETINFO": "the client's name in CLIENT LIST",
    "CLUSTER SLOTS": "a cluster's nodes, which redis+cluster:// asks for",
    "SORT_RO": "the names of a page by one command, with %R~*: without it each player's is a command of its own",
    "WAIT": "REDIS_WAIT_REPLICAS",
    "SCAN": "`leaderboard verify` where there are boards; `restore` and `repartition`, which empty Redis, or with "
    "--keep-redis look for who was deleted",
}
"""What the system does without where it is refused, and what is missed then."""

TRANSACTION = ("MULTI", "EXEC", "DISCARD")
"""With these several commands are one step, and a trial changes nothing."""

KEY_PATTERNS = (
    *("leaderboard:*", "user:*", "entries:*", "queue:scores:*", "bucket:*", "idempotency:*"),
    *("claim:*", "deleted:*", "shard:*", "workers", "workers:*", "board:*", "boards"),
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
    refused: set[str] = set()
    waits: Mapping[str, Words] = {} if shard.writer is shard.pipeliner else {"WAIT": (0, 1)}
    try:
        await connection.connect()
        if (error := await ask("MULTI")) is not None:
            return [_say("MULTI", error)]
        for name, words in {**_trials(shard.keys), **waits}.items():
            if (error := await ask(*name.split(), *words)) is not None:
                found[_say(name, error)] = None
                refused.add(name)
        for pattern in KEY_PATTERNS:
            # It would change nothing if it were run.
            if (
                error := await ask("ZADD", shard.keys.prefix + pattern.replace("*", _NOBODY), "XX", 0, _NOBODY)
            ) is not None:
                found[_say(f"the keys {pattern}" if "key" in str(error) else "ZADD", error)] = None
        if (error := await ask("DISCARD")) is not None:
            found[_say("DISCARD", error)] = None
        # What a script needs is checked when it is run; the hashes are nobody's.
        words = (shard.keys.user(_NOBODY), shard.keys.user(f"{_NOBODY}/other"))
        if (
            "EVAL" not in refused
            and (error := await ask("EVAL", lua.load("read_derived_key").source, 1, *words)) is not None
        ):
            found[_say("keys in a script that it was not given", error)] = None
    finally:
        await connection.disconnect(nowait=True)
    return list(found)


def _say(what: str, error: RedisError) -> str:
    if code_of(error) == "NOPERM":
        return f"its user may not use {what}"
    return explain(error) or f"{what}: {error}"

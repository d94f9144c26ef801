"""Say what each error of a Redis means: for its connections, for the breaker, for health, operators and clients."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import cast

from redis.exceptions import RedisError

from leaderboard_core.errors import Unavailable

log = logging.getLogger(__name__)

_TRY_AGAIN = "try again shortly. Nothing was done."
_UNSURE = "A write may have been done or not: repeat it with its Idempotency-Key."
_MOVING = f"A part of the board is being moved to another Redis server; {_TRY_AGAIN}"
_REPLICA = f"A Redis server is a replica now; {_TRY_AGAIN}"
_UNUSABLE = f"A Redis server cannot be used now; {_TRY_AGAIN}"
_NO_WRITES = f"A Redis server takes no writes now; {_TRY_AGAIN}"
# Redis 7 says these without the code: of a command in a script, and of SORT's patterns.
_REFUSED_BY_ACL = re.compile(r"ACL failure in script|denied due to insufficient ACL permissions")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the system makes of one error code.

    `drops`: every connection to the server is left, because a new one may reach another server or be let in; what was
    loaded for its admission is forgotten. `away`: the server can do nothing, which counts for the breaker. `health` is
    what `/health` says: as `error` of a server that is away, else as why it `refuses_writes`. `remedy` is for the log,
    `client` for the answer, without anything about the servers.
    """

    health: str
    remedy: str
    client: str
    drops: bool = False
    away: bool = False


MEANINGS = {
    "READONLY": Meaning("it is a read-only replica", "name the primary, if this stays", client=_REPLICA, drops=True),
    "UNBLOCKED": Meaning("it became a replica", "name the primary, if this stays", client=_REPLICA, drops=True),
    "MASTERDOWN": Meaning(
        "it is a replica that has lost its primary",
        "name the primary, if this stays",
        client=_REPLICA,
        drops=True,
        away=True,
    ),
    "MOVED": Meaning(
        "another node of its cluster has the keys",
        "name a cluster as redis+cluster://, if this stays",
        client=f"A part of the board is on another Redis server now; {_TRY_AGAIN}",
        drops=True,
    ),
    # A script is never run by the importing node on behalf of the other: it could find half of its keys.
    "ASK": Meaning("its keys are being moved to another node", "wait", client=_MOVING),
    "TRYAGAIN": Meaning("its keys are being moved to another node", "wait", client=_MOVING),
    "CROSSSLOT": Meaning(
        "it is a node of a cluster, where keys lie apart", "name it as redis+cluster://", client=_UNUSABLE, away=True
    ),
    "CLUSTERDOWN": Meaning(
        "its cluster has no majority of masters, or no master for its slots",
        "bring nodes back",
        client=_UNUSABLE,
        drops=True,
        away=True,
    ),
    "LOADING": Meaning(
        "it is loading its data",
        "wait",
        client=f"A Redis server is loading its data; {_TRY_AGAIN}",
        drops=True,
        away=True,
    ),
    "NOAUTH": Meaning(
        "it asks for a password", "put user and password into the URL", client=_UNUSABLE, drops=True, away=True
    ),
    # Connections that were let in before are as good as ever.
    "WRONGPASS": Meaning("it refuses the user or the password of the URL", "correct them", client=_UNUSABLE, away=True),
    "NOPERM": Meaning(
        "its user may not run some command",
        "`leaderboard check` names what is refused",
        client=f"A Redis server refuses a command. {_UNSURE}",
    ),
    "OOM": Meaning("its maxmemory is used up", "give it more memory", client=_NO_WRITES),
    "MISCONF": Meaning(
        "it cannot write its data to the disk", "give it room; its log says what fails", client=_NO_WRITES
    ),
    "NOREPLICAS": Meaning(
        "it has fewer replicas than min-replicas-to-write", "attach them, or lower that", client=_NO_WRITES
    ),
    # These two are of our own: what the WAIT behind a write means.
    "UNCONFIRMED": Meaning(
        "too few replicas have its writes in time",
        "attach replicas, or lower REDIS_WAIT_REPLICAS",
        client=f"Too few replicas of a Redis server have the write yet. {_UNSURE}",
    ),
    "DEMOTED": Meaning(
        "it became a replica",
        "name the primary, if this stays",
        client=f"A Redis server stopped being the primary. {_UNSURE}",
        drops=True,
    ),
}
UNKNOWN = Meaning(
    "it refuses a command", "its own words say why", client=f"A Redis server refuses a command. {_UNSURE}"
)
"""What any other code means: a fault of ours, or of the server."""


def meaning_of(error: BaseException | None) -> Meaning | None:
    """Look up what an error that redis-py raised means; None when it is none of the listed."""
    return MEANINGS.get(code_of(error)) if isinstance(error, RedisError) else None


def code_of(error: RedisError) -> str:
    """Read the code with which Redis began its error; redis-py takes some of them off the text."""
    text = str(error)
    if _REFUSED_BY_ACL.search(text):
        return "NOPERM"
    if "non local key" in text:  # a script that has read a hash which is on another node already
        return "TRYAGAIN"
    return error.status_code or text.partition(" ")[0]


def explain(error: BaseException | None) -> str | None:
    """Say for operators what an error means and what to do; None when it is none of the listed."""
    meaning = meaning_of(error)
    return None if meaning is None else _explain(cast(RedisError, error), meaning)


def refused(error: RedisError, meaning: Meaning, variable: str, shard: str) -> Unavailable:
    """Log for operators what a server has against a command, and make the error that a client sees."""
    reason = f"{variable}: {_explain(error, meaning)}"
    log.warning("redis refused a command: %s", reason, extra={"shard": shard, "error": str(error)})
    problem = Unavailable(meaning.client)
    problem.add_note(f"{variable}: {shard}: {_explain(error, meaning)}. Redis says: {error}")
    return problem


def unreachable(error: BaseException | None) -> Unavailable:
    """Make the error a caller sees when a shard does not answer; the driver's own words stay in the log."""
    if error is None:
        return Unavailable("A Redis server did not answer the last calls; nothing was done. Try again shortly.")
    return Unavailable(f"A Redis server cannot be reached; try again shortly. {_UNSURE}")


def _explain(error: RedisError, meaning: Meaning) -> str:
    return f"{meaning.health} ({code_of(error)}): {meaning.remedy}"

"""What Redis refuses is known by its code, whichever of the two parsers read it."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError, RedisError, ResponseError

from leaderboard_core.redis.error_codes import MEANINGS, code_of, explain, meaning_of, refused
from leaderboard_core.redis.replies import read_error


@pytest.mark.parametrize("code", MEANINGS)
def test_a_code_means_the_same_from_pool_and_pipeliner(code: str) -> None:
    words = f"{code} 3999 127.0.0.1:6381"
    parse: Any = BaseParser.parse_error
    for error in (parse(words), read_error(words)):
        assert isinstance(error, RedisError)
        assert code_of(error) == code
        assert meaning_of(error) is MEANINGS[code]
        assert explain(error) == f"{MEANINGS[code].health} ({code}): {MEANINGS[code].remedy}"


def test_a_right_that_a_script_lacks_is_known_by_its_words() -> None:
    reader = hiredis.Reader(replyError=read_error)
    reader.feed(b"-ERR ACL failure in script: User x has no permissions to run the 'info' command script: f, on @x\r\n")
    assert meaning_of(reader.gets()) is MEANINGS["NOPERM"]


def test_any_other_error_means_nothing_of_its_own() -> None:
    for error in (None, ConnectionError("gone"), ResponseError("ERR no such thing"), OSError("READONLY")):
        assert meaning_of(error) is None
        assert explain(error) is None


def test_clients_learn_nothing_of_the_server_and_operators_the_variable() -> None:
    error = read_error("READONLY You can't write against a read only replica.")
    assert isinstance(error, RedisError)
    seen = refused(error, MEANINGS["READONLY"], "REDIS_URL_EU", "redis://10.0.0.7:6379")
    assert seen.message == MEANINGS["READONLY"].client
    assert seen.__notes__[0].startswith("REDIS_URL_EU: redis://10.0.0.7:6379: it is a read-only replica (READONLY)")
    assert all("redis://" not in meaning.client for meaning in MEANINGS.values())

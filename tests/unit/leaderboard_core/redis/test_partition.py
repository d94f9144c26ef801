"""Test which players a partition holds, and the names of parts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.redis.partition import WHOLE, Partition, index_of
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import SettingsError, TopologySettings, load
from leaderboard_core.settings.redis_endpoints import parse_endpoints


@given(st.text(min_size=1, max_size=40).filter(str.isprintable), st.integers(1, 64))
def test_every_player_is_on_one_partition(user_id: str, count: int) -> None:
    holders = [index for index in range(count) if Partition(index, count).holds(user_id)]
    assert holders == [index_of(user_id, count)]


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 16, 32])
def test_players_are_spread_evenly(count: int) -> None:
    found = Counter(index_of(f"player-{number}", count) for number in range(count * 1_000))
    assert len(found) == count
    assert 800 < min(found.values()) <= max(found.values()) < 1_200


def test_a_part_has_a_name_and_the_whole_keeps_its_own() -> None:
    assert WHOLE.name("EU") == "EU"
    assert Partition(1, 4).name("EU") == "EU 1/4"
    assert WHOLE.encode_scope(("NA", "EU")) == "EU,NA"
    assert Partition(1, 4).encode_scope(("NA", "EU")) == "EU,NA:1/4"
    for one in (WHOLE, Partition(0, 2), Partition(31, 32)):
        assert Partition.parse_scope(one.encode_scope(("EU", "NA"))) == (("EU", "NA"), one)
    for wrong in ("EU:1", "EU:/", "EU:a/b"):
        with pytest.raises(ValueError, match="invalid literal"):
            Partition.parse_scope(wrong)


def test_a_limit_is_divided_and_rounded_up() -> None:
    assert [Partition(0, count).share_of(10) for count in (1, 2, 3, 4, 16)] == [10, 5, 4, 3, 1]
    assert Partition(0, 4).share_of(0) == 0


def test_several_urls_are_partitions_in_their_order() -> None:
    found = load(TopologySettings, {"REDIS_URL": "redis://one/0, redis://two/0", "REDIS_URL_EU": "redis://three"})
    assert [one.url for one in found.redis_endpoints_of("NA")] == ["redis://one/0", "redis://two/0"]
    assert found.redis_endpoints_of("NA") == found.redis_endpoints_of("GLOBAL")
    assert [one.url for one in found.redis_endpoints_of("EU")] == ["redis://three"]


def test_a_cluster_and_sentinels_are_endpoints_of_several_nodes() -> None:
    (cluster,) = parse_endpoints(
        "rediss+cluster://user:p%2Fw@one:7000,[::1]:7001,two/?partitions=8&ssl_ca_certs=/ca.pem"
    )
    assert (cluster.kind, cluster.partitions) == ("cluster", 8)
    assert cluster.nodes == (("one", 7000), ("::1", 7001), ("two", 6379))
    assert cluster.url == "rediss://user:p%2Fw@one:7000/?ssl_ca_certs=/ca.pem"
    first, second = parse_endpoints(
        "redis+sentinel://:pw@one,two:1/scores-1?sentinel_password=x,redis+sentinel://one,two:1/scores-2/3"
    )
    assert (first.kind, first.service, first.nodes) == ("sentinel", "scores-1", (("one", 26379), ("two", 1)))
    assert (first.url, first.sentinel_auth) == ("redis://:pw@one:26379/", ("", "x"))
    assert (second.service, second.url) == ("scores-2", "redis://one:26379/3")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("redis://one,redis://one", "names the same URL twice"),
        ("redis://one,", "has a comma that no URL follows"),
        ("redis://:a,b@one/0", "has a comma that no URL follows"),
        ("redis://one,http://two", "must begin with redis:// or rediss:// or unix://"),
        ("redis://one,redis://two:x", "cannot be read as a URL"),
        ("redis+cluster://one:1,two:x", "cannot be read as a URL"),
        ("redis+cluster://one:1,", "cannot be read as a URL"),
        ("redis+cluster://one/3", "a cluster has no databases with numbers"),
        ("redis+cluster://one/?partitions=0", "has a number of partitions that is none from 1 to 256"),
        ("redis+cluster://one/?partitions=257", "has a number of partitions that is none from 1 to 256"),
        ("redis+cluster://one,redis://two", "names a cluster beside other Redis"),
        ("redis+sentinel://one:26379", "names no service"),
        ("redis+sentinel://one/scores/x", "names no service"),
        ("redis+other://one", "must begin with redis:// or"),
    ],
)
def test_a_list_that_is_wrong_says_how(value: str, said: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL") as raised:
        load(TopologySettings, {"REDIS_URL": value})
    assert said in str(raised.value)
    assert ":a,b" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://:secret@one/?socket_timeout=abc",
        "redis+cluster://:secret@one/?health_check_interval=x",
        "redis+cluster://:secret@one/?protocol=7",
        "rediss+sentinel://:secret@one/scores?ssl_cert_reqs=bogus",
        "redis://:secret@one/0?nonsense=1",
    ],
)
def test_a_parameter_that_redis_py_does_not_take_is_said_by_the_variable(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL: redis-py does not take") as raised:
        ShardMap.open(load(TopologySettings, {"REDIS_URL": url}))
    assert "secret" not in str(raised.value)

"""Test that partitions of a cluster are spread evenly over its masters, however many there are."""

from collections import Counter

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from leaderboard_core.redis.slots import slot_of, tag_of


@pytest.mark.parametrize("partitions", range(1, 33))
def test_masters_differ_by_at_most_one_partition(partitions: int) -> None:
    slots = [slot_of(tag_of(index, partitions)) for index in range(partitions)]
    assert len(set(slots)) == partitions
    for masters in range(1, partitions + 1):
        bounds = [(index + 1) * REDIS_CLUSTER_HASH_SLOTS // masters for index in range(masters)]
        found = Counter(next(index for index, end in enumerate(bounds) if slot < end) for slot in slots)
        assert max(found.values()) - min(found[index] for index in range(masters)) <= 1, masters


def test_tags_stay_what_they_are() -> None:
    """They are in the names of keys."""
    assert [tag_of(index, 2) for index in range(2)] == ["2-0-e", "2-1-53"]
    assert [tag_of(index, 8) for index in (0, 7)] == ["8-0-7a", "8-7-a0"]

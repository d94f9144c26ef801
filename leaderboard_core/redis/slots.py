"""Choose the hash tags by which the partitions of a cluster lie in slots that are spread evenly over its masters."""

from __future__ import annotations

from functools import cache
from itertools import count

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

_TOLERANCE = 64
"""A slot may lie this part of a partition's share away from the middle of it."""


@cache
def tag_of(index: int, partitions: int) -> str:
    """Return the hash tag of a partition: the first `N-i-<hex>` with a slot about the middle of the i-th of N parts.

    Masters have equal and consecutive shares of the slots, as every tool gives them, so they differ by at most one
    partition, whatever their number. `{eu-0}` … `{eu-7}` would leave two of six masters without any.
    """
    share = REDIS_CLUSTER_HASH_SLOTS / partitions
    middle = (index + 0.5) * share
    for number in count():
        tag = f"{partitions}-{index}-{number:x}"
        if abs(key_slot(tag.encode()) - middle) <= max(share / _TOLERANCE, 1):
            return tag
    raise AssertionError("numbers do not end")


def slot_of(tag: str) -> int:
    """The slot of every key with this hash tag."""
    return key_slot(tag.encode())

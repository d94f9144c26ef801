"""Ways in which the players of a test are spread over the two Redis that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Layout = Literal["one-redis", "two-redis", "two-partitions"]

LAYOUTS: tuple[Layout, ...] = ("one-redis", "two-redis", "two-partitions")
"""Everybody on the first Redis; EU on the second one; each region on both, a part of its players on each."""


def on_layout(environ: Mapping[str, str], redis_urls: Sequence[str], layout: Layout) -> dict[str, str]:
    """The environment of a process on these two Redis, as `layout` names it."""
    first, second = redis_urls
    own = {
        "one-redis": {"REDIS_URL": first},
        "two-redis": {"REDIS_URL": first, "REDIS_URL_EU": second},
        "two-partitions": {"REDIS_URL": f"{first},{second}"},
    }
    return {**environ, **own[layout]}

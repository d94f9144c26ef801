"""Ways in which the players of a test are spread over Redis, and the one that a run of the tests is about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pytest

Layout = Literal["one-redis", "two-redis", "two-partitions", "cluster"]

_GIVEN = os.environ.get("TEST_LAYOUT", "")
if _GIVEN not in ("", *get_args(Layout)):
    raise ValueError(f"TEST_LAYOUT is {_GIVEN!r}; use one of {', '.join(get_args(Layout))}")

TEST_LAYOUT: Layout = _GIVEN or "one-redis"  # type: ignore[assignment]
"""Where the tests run that do not say it themselves."""
LAYOUTS: tuple[Layout, ...] = (TEST_LAYOUT,) if _GIVEN else ("one-redis", "two-redis", "two-partitions")
"""Where the tests run that are about every layout: `make test-matrix` takes one after the other.

Everybody on the first Redis; EU on the second one; each region on both, a part of its players on each; a cluster of
three masters.
"""
CLUSTER_PARTITIONS = 4

WHOLE_LIMITS = pytest.mark.layout("one-redis", "two-redis", why="partitions have a share each of a region's limits")
"""Marks tests that count up to a limit."""


def on_layout(
    environ: Mapping[str, str], redis_urls: Sequence[str], layout: Layout, cluster_url: str = ""
) -> dict[str, str]:
    """The environment of a process on these two Redis, or on that cluster, as `layout` names it."""
    first, second = redis_urls
    own = {
        "one-redis": {"REDIS_URL": first},
        "two-redis": {"REDIS_URL": first, "REDIS_URL_EU": second},
        "two-partitions": {"REDIS_URL": f"{first},{second}"},
        "cluster": {"REDIS_URL": cluster_url},
    }
    others = {name: value for name, value in environ.items() if not name.startswith("REDIS_URL")}
    return {**others, **own[layout]}

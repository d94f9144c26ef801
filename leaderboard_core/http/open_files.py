"""How many files (connections) a process may have open."""

from __future__ import annotations

import resource
from typing import Final

_MOST: Final = 1_048_576
"""Enough for any process of ours; some systems have a hard limit so high that looking through all is slow."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one: shells and service managers give 1024 or so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """Files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft

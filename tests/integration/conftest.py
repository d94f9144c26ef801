"""Which event loops the tests here run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The client works on transports, and those of uvloop (in the processes) are not those of asyncio."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in ("test_gateway_client", "test_gateway_races"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories

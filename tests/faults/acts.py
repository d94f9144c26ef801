"""Single faults: one process ends or stands still, at any moment."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

from tests.faults.stage import Stage

Act = Callable[[Stage], Awaitable[None]]
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 4.0


def ended(number: signal.Signals, *kinds: str) -> Act:
    """One process of these kinds gets a signal that ends it."""

    async def act(stage: Stage) -> None:
        chaos = stage.chaos
        await chaos.kill(chaos.rng.choice(chaos.names(*kinds)), number)

    return act


def paused(*kinds: str) -> Act:
    """One process of these kinds stands still for a while."""

    async def act(stage: Stage) -> None:
        chaos = stage.chaos
        name, seconds = chaos.rng.choice(chaos.names(*kinds)), chaos.rng.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
        await chaos.running(name)
        await chaos.pause(name, seconds)

    return act


def rolling_restart(*kinds: str) -> Act:
    """SIGTERM to one after the other, each when the one before serves again: a deployment."""

    async def act(stage: Stage) -> None:
        for name in stage.chaos.names(*kinds):
            await stage.chaos.kill(name, signal.SIGTERM)
            await stage.healthy(name)

    return act


def killed_with_writes_in_redis(*kinds: str) -> Act:
    """Writes have been sent to a Redis that stands still; who sent them dies; then Redis does them."""

    async def act(stage: Stage) -> None:
        chaos = stage.chaos
        victim = chaos.rng.choice(chaos.names(*kinds))
        await chaos.running(victim)
        await chaos.running("redis")
        chaos.freeze("redis")
        try:
            await stage.more_writes(1000, seconds=0.4)
            await chaos.kill(victim)
            await stage.more_writes(1000, seconds=0.2)
        finally:
            chaos.thaw("redis")

    return act

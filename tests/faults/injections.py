"""Inject faults into single processes: kill, pause, restart."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

from tests.faults.harness import Harness

Injection = Callable[[Harness], Awaitable[None]]
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 4.0


def ended(number: signal.Signals, *kinds: str) -> Injection:
    """Make an injection that ends a random process of these kinds by a signal."""

    async def inject(harness: Harness) -> None:
        chaos = harness.chaos
        await chaos.kill(chaos.rng.choice(chaos.names(*kinds)), number)

    return inject


def paused(*kinds: str) -> Injection:
    """Make an injection that stops a random process of these kinds for a while."""

    async def inject(harness: Harness) -> None:
        chaos = harness.chaos
        name, seconds = chaos.rng.choice(chaos.names(*kinds)), chaos.rng.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
        await chaos.running(name)
        await chaos.pause(name, seconds)

    return inject


def rolling_restart(*kinds: str) -> Injection:
    """Make an injection that restarts these processes one by one, each when the one before is healthy again."""

    async def inject(harness: Harness) -> None:
        for name in harness.chaos.names(*kinds):
            await harness.chaos.kill(name, signal.SIGTERM)
            await harness.healthy(name)

    return inject


def killed_with_writes_in_redis(*kinds: str) -> Injection:
    """Make an injection that kills the sender of writes while Redis is paused; then Redis executes them."""

    async def inject(harness: Harness) -> None:
        chaos = harness.chaos
        victim = chaos.rng.choice(chaos.names(*kinds))
        await chaos.running(victim)
        await chaos.running("redis")
        chaos.freeze("redis")
        try:
            await harness.more_writes(1000, seconds=0.4)
            await chaos.kill(victim)
            await harness.more_writes(1000, seconds=0.2)
        finally:
            chaos.thaw("redis")

    return inject

"""Access lines are JSON, written a handful at a time."""

from __future__ import annotations

import asyncio
import json
from time import perf_counter

from leaderboard_core.http.access_log import AccessLog
from leaderboard_core.http.context import RequestContext


def say(log: AccessLog, path: str, request_id: str = "i") -> None:
    context = RequestContext("GET", path, request_id, perf_counter())
    context.status = 200
    context.end()
    log.answered(path, context)


async def test_access_lines_are_json_and_come_by_themselves() -> None:
    written: list[bytes] = []
    flushed = asyncio.Event()

    def write(lines: bytes) -> None:
        written.append(lines)
        flushed.set()

    log = AccessLog("gateway-1", "api_gateway.access", write=write)
    for number in range(3):
        say(log, "/rank/\ufffd\u738b\n\x00", f"id-{number}")
    await asyncio.wait_for(flushed.wait(), 5)
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == ["id-0", "id-1", "id-2"]
    assert {"time", "level", "process", "logger", "method", "path", "status", "ms"} <= set(lines[0])


async def test_probes_leave_no_line_unless_wanted() -> None:
    written: list[bytes] = []
    for probes in (False, True):
        log = AccessLog("g", "api_gateway.access", probes=probes, write=written.append)
        for path in ("/health", "/metrics", "/top"):
            say(log, path)
        log.flush()
    assert [lines.count(b"\n") for lines in written] == [1, 3]


async def test_many_access_lines_do_not_wait_and_none_come_when_turned_off() -> None:
    written: list[bytes] = []
    log = AccessLog("g", "api_gateway.access", write=written.append)
    for _ in range(450):
        say(log, "/top")
    assert sum(lines.count(b"\n") for lines in written) == 400
    log.flush()
    assert sum(lines.count(b"\n") for lines in written) == 450
    silent = AccessLog("g", "api_gateway.access", enabled=False, write=written.append)
    say(silent, "/top")
    silent.flush()
    assert len(written) == 3

"""The examples of the API's description are what a service answers; RECORD_EXAMPLES=1 writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis.asyncio as redis

from leaderboard_core.calls import CALLS
from leaderboard_core.errors import all_errors
from leaderboard_service.app import create_app
from leaderboard_service.reference import examples
from tests.conftest import Start
from tests.docs.recording import Recorder
from tests.docs.story import tell
from tests.support.service import SECRET, settings_of

FILE = Path(examples.__file__).with_name(examples.FILE)
OF_THE_GATEWAY = {"bad_gateway", "gateway_timeout", "request_timeout"}


@pytest.mark.layout("one-redis", why="the examples in the documents are of one Redis")
async def test_the_examples_are_real_answers(start: Start, all_redis: redis.Redis, environ: dict[str, str]) -> None:
    recorded = await tell(start, all_redis, environ)
    check_all_is_shown(recorded)
    if os.environ.get("RECORD_EXAMPLES"):
        FILE.write_text(recorded.file(), "utf-8")
    else:
        assert recorded.file() == FILE.read_text("utf-8"), "a service answers otherwise now: make docs"


def check_all_is_shown(recorded: Recorder) -> None:
    shown = {call["call"] for call in recorded.calls}
    assert {f"{call.method} {call.path}" for call in CALLS} - shown == {"GET /metrics"}
    titles = [(call["call"], call["title"]) for call in recorded.calls]
    assert len(titles) == len(set(titles))
    assert set(all_errors()) - set(recorded.errors) == {"internal_error", *OF_THE_GATEWAY}
    assert documented_codes() <= set(recorded.errors)


def documented_codes() -> set[str]:
    """The codes that the document promises, of all calls."""
    document = create_app(settings_of({"JWT_SECRET": SECRET})).openapi()
    return {
        code
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status >= "400" and "content" in answer and "schema" in answer["content"].get("application/json", {})
        for code in answer["content"]["application/json"].get("examples", {})
        if answer["content"]["application/json"]["schema"].get("$ref", "").endswith("/ErrorEnvelope")
    }

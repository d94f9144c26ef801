"""Requests that schemathesis makes of the OpenAPI document are answered as it says, and never with a 500."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks

from leaderboard_core.calls import CALLS
from tests.conftest import Start

EXAMPLES = 8
"""For each operation, of valid requests and of invalid ones; all together take about half a minute."""
CONFORMANCE = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
]
OPERATIONS = [(call.method, call.path) for call in CALLS if not call.streams]


def check(document: dict[str, Any], url: str, operation: tuple[str, str], tokens: list[str]) -> None:
    """Send generated requests of one operation, without a token and with each of `tokens`."""
    method, path = operation
    # What answers every status would let every status pass.
    answers = document["paths"][path][method.lower()]["responses"]
    for status in ("4XX", "default"):
        answers.pop(status, None)
    schema = schemathesis.openapi.from_dict(document)
    found = schema[path][method.lower()]
    cases = st.one_of(*(found.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @settings(
        max_examples=2 * EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, token=st.sampled_from(["", *tokens]))
    def send(case: Case[Any], token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        case.call_and_validate(base_url=url, headers=headers, checks=CONFORMANCE, timeout=30)

    send()


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
async def test_what_is_generated_is_answered_as_documented(start: Start, operation: tuple[str, str]) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=100_000, LOGIN_ACCOUNT_RATE_LIMIT_COUNT=100_000)
    document = (await api.get("/openapi.json")).json()
    tokens = [await api.register("alice", "EU", 3), api.server_token()]
    await asyncio.to_thread(check, document, str(api.http.base_url), operation, tokens)

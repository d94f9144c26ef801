"""Record calls of a service, with values that differ from run to run normalised."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.support.events import apply, listening
from tests.support.service import Api

FIRST_MICROS = 1_767_225_600_000_000
"""2026-01-01, instead of the time of the recording."""
TIMES = ("updated_at", "created_at", "deleted_at")
TOKEN_IN_TEXT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")


@dataclass
class Recorder:
    """Record calls and answers."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    errors: dict[str, Any] = field(default_factory=dict)
    _times: dict[int, int] = field(default_factory=dict)

    async def call(
        self,
        api: Api,
        call: str,
        target: str = "",
        body: object = None,
        *,
        title: str,
        status: int = 200,
        token: str = "",
        server: bool = False,
        admin: bool = False,
        key: str = "",
    ) -> Any:
        """Record an example of the route `call` ("GET /rank/{user_id}"), with the unchanged answer."""
        method, _, path = call.partition(" ")
        target = target or path
        whose = "admin token" if admin else "server token" if server else "token"
        shown = {"Authorization": f"Bearer <{whose}>"} if token else {}
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        more = {"Idempotency-Key": key} if key else {}
        answer = await api.http.request(method, target, json=body, headers=sent | more)
        assert answer.status_code == status, answer.text
        found = answer.json()
        source = answer.headers.get("X-Leaderboard-Source")
        self._keep(
            call=call,
            title=title,
            target=target,
            body=body,
            headers=shown | more,
            status=status,
            answer=self.stable(found),
            answer_headers={"X-Leaderboard-Source": source} if source else {},
        )
        return found

    async def stream(self, api: Api, call: str, target: str, *, title: str, act: Any) -> None:
        """Record the first event of a stream, and the one after `act`."""
        async with listening(str(api.http.base_url), target) as listener:
            first = await listener.next()
            await act()
            second = await listener.next()
            assert (first.name, second.name) == ("snapshot", "change")
            if "removed" in second.data:
                assert apply(first.data["rows"], second.data), "the change fits the snapshot"
            text = f"retry: {listener.retry}\n"
            for event in (first, second):
                text += f"id: {event.id}\nevent: {event.name}\ndata: {orjson.dumps(event.data).decode()}\n\n"
        self._keep(call=call, title=title, target=target, status=200, answer=text)

    async def error(
        self,
        api: Api,
        code: str,
        call: str,
        body: object = None,
        *,
        token: str = "",
        key: str = "",
        origin: str = "",
        coding: str = "",
        raw: bytes = b"",
    ) -> None:
        """Record an example of the error `code`."""
        method, _, target = call.partition(" ")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"Origin": origin} if origin else {}
        headers |= {"Content-Encoding": coding} if coding else {}
        content = raw or (orjson.dumps(body) if body is not None else None)
        answer = await api.http.request(method, target, content=content, headers=headers)
        assert answer.json()["error"] == code, answer.text
        self.errors[code] = self.stable(answer.json())

    def _keep(self, **example: Any) -> None:
        self.calls.append({name: value for name, value in example.items() if value not in (None, {})})

    def stable(self, value: Any, name: str = "") -> Any:
        """Replace times, tokens, addresses and waits by values that are equal in each recording."""
        match value:
            case dict():
                return {key: self.stable(part, key) for key, part in value.items()}
            case list():
                # Warnings of the tests' Redis are no part of the API.
                return [] if name == "warnings" else [self.stable(part) for part in value]
            case int() if name in TIMES:
                return self._times.setdefault(value, FIRST_MICROS + 1_000_000 * len(self._times))
            case float() if name == "last_seen_seconds":
                return 0.4
            case float() if name == "retry_after" and value != 1.0:
                return 0.1
            case float() if name == "clock_offset_seconds":
                return 0.001
            case str() if name == "server":
                return "127.0.0.1:6379"
            case str() if name == "secret":
                return "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
            case str() if name == "shard":
                return "redis://127.0.0.1:6379/0"
            case str():
                return TOKEN_IN_TEXT.sub("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.….…", value)
        return value

    def file(self) -> str:
        """Serialise the recording, one call a line, so that a difference is easy to read."""

        def line(value: object) -> str:
            return orjson.dumps(value).decode()

        calls = ",\n".join(line(call) for call in self.calls)
        errors = ",\n".join(f"{line(code)}: {line(self.errors[code])}" for code in sorted(self.errors))
        return f'{{"calls": [\n{calls}\n],\n"errors": {{\n{errors}\n}}}}\n'

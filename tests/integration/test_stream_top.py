"""GET /stream/top: what a listener gets, and what it does not."""

from __future__ import annotations

from tests.support.events import listening
from tests.support.service import Api


async def test_a_snapshot_and_then_what_changes(any_api: Api) -> None:
    tokens = {name: await any_api.register(name, "ASIA", score) for name, score in (("a", 30), ("b", 20), ("c", 10))}
    async with listening(str(any_api.http.base_url), "/stream/top?region=asia&limit=2") as listener:
        first = await listener.next()
        assert listener.retry == 1000
        assert first.name == "snapshot"
        assert first.data == {
            "region": "ASIA",
            "total": 3,
            "source": "redis",
            "rows": [
                {"position": 1, "rank": 1, "user_id": "a", "name": "a", "region": "ASIA", "score": 30},
                {"position": 2, "rank": 2, "user_id": "b", "name": "b", "region": "ASIA", "score": 20},
            ],
        }
        await any_api.post("/score/update", {"score": 25}, token=tokens["c"])
        second = await listener.next()
        assert second.name == "change"
        assert second.data == {
            "region": "ASIA",
            "total": 3,
            "source": "redis",
            "rows": [{"position": 2, "rank": 2, "user_id": "c", "name": "c", "region": "ASIA", "score": 25}],
            "removed": ["b"],
        }
        assert first.id != second.id

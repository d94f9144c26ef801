"""The service serves its own API reference: nothing of it comes from elsewhere."""

from __future__ import annotations

import re

import pytest

from leaderboard_core.http import pages as web
from tests.support.service import Api, running_service


async def test_the_reference_and_what_it_loads_is_served_with_a_strict_policy(api: Api) -> None:
    page = await api.http.get("/docs")
    paths = re.findall(r'(?:href|src)="(/docs/[^"]+)"', page.text)
    assert len(paths) > 5
    for path in ("/docs", *paths):
        answer = await api.http.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == web.CONTENT_SECURITY_POLICY.decode()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
        assert "https://" not in answer.text, path
        again = await api.http.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    head = await api.http.head("/docs")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/oauth2-redirect", "/docs/assets/nothing.js", "/docs/assets/../app.py"]
)
async def test_the_frameworks_own_pages_are_gone(api: Api, path: str) -> None:
    answer = await api.http.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_the_reference_is_read_only(api: Api) -> None:
    answer = await api.http.post("/docs")
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")


async def test_the_reference_can_be_closed(environ: dict[str, str]) -> None:
    async with running_service({**environ, "SERVE_DOCS": "false"}) as api:
        for path in ("/docs", "/openapi.json", "/docs/assets/docs.js"):
            answer = await api.http.get(path)
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
            assert "/docs " not in answer.json()["message"]
        assert (await api.http.get("/regions")).json() == {"regions": ["ASIA", "EU", "NA", "GLOBAL"]}

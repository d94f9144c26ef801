"""Test that the dashboard and the API reference come complete through every hop, from containers too."""

from __future__ import annotations

import re

import httpx
import pytest


@pytest.mark.parametrize(("path", "assets"), [("/", "/assets/"), ("/docs", "/docs/assets/")])
def test_a_page_and_its_files_are_served(http: httpx.Client, path: str, assets: str) -> None:
    page = http.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    files = re.findall(rf'(?:href|src)="({assets}[^"]+)"', page.text)
    assert len(files) > 5
    for target in (path, *files):
        answer = http.get(target)
        assert answer.status_code == 200, target
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers.get("content-encoding") == "gzip" or len(answer.content) < 1000
        again = http.get(target, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304, target
    unknown = http.get(f"{assets}nothing.js")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "not_found")

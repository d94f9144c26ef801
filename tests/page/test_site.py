"""Test the site of the documents in a browser: search, copy buttons, no request elsewhere, phones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest
from selenium import webdriver

from tests.docs.site import build, documents, shown_at
from tests.page.browser import Page, page_in

pytestmark = pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra site ('make site' installs it)")


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build and serve the site; return its address."""
    folder = build(tmp_path_factory.mktemp("site")).parent
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(chromium: webdriver.Chrome, site: str) -> Iterator[Page]:
    """Open a tab, whose console must stay clean."""
    with page_in(chromium, site) as opened:
        yield opened
        assert opened.complaints() == []


def test_search_finds_a_heading(page: Page) -> None:
    page.open("/index.html")
    page.click(".md-search__input")
    page.fill(".md-search__input", "appendfsync")
    page.until_text(".md-search-result", "What appendfsync can lose")
    assert all(address.startswith(page.url) for address in page.requested())


def test_every_block_of_code_has_a_copy_button(page: Page) -> None:
    page.open("/docs/quickstart.html")
    blocks = page.run("return document.querySelectorAll('pre').length")
    assert blocks > 10
    page.until(
        lambda: page.run("return document.querySelectorAll('pre ~ * .md-code__button, pre .md-code__button').length"),
        "copy buttons",
    )
    assert page.run("return document.querySelectorAll('[data-clipboard-target]').length") == blocks


def test_no_page_scrolls_sideways_on_a_phone_and_every_picture_is_there(page: Page) -> None:
    page.width(390)
    for document in documents():
        page.open(f"/{shown_at(document)}")
        wide = page.run("return document.documentElement.scrollWidth - innerWidth")
        missing = page.run("return [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)")
        assert (str(document), wide, missing) == (str(document), 0, [])

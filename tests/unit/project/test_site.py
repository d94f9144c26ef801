"""Test that the site of the documents has all of them, builds without a warning, and shows what GitHub shows."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.docs.regions import REPOSITORY
from tests.docs.site import LEFT_OUT, build, documents, shown_at
from tests.unit.project.test_docs import DOCUMENTS

needs_mkdocs = pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra site ('make site' installs it)")


def test_every_document_is_in_the_navigation() -> None:
    assert sorted([*documents(), *LEFT_OUT]) == sorted(path.relative_to(REPOSITORY) for path in DOCUMENTS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning, as of a link that leads nowhere, is an error."""
    return build(tmp_path_factory.mktemp("site")).parent


class Elements(HTMLParser):
    """Count the elements of a text that its author wrote as such."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found = Counter[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("li", "pre", "tr", "h1", "h2", "h3", "h4", "code", "img", "strong", "em"):
            self.found[tag] += 1


@needs_mkdocs
@pytest.mark.parametrize("document", documents(), ids=str)
def test_a_page_has_the_lists_tables_and_code_of_its_document(site: Path, document: Path) -> None:
    text = (REPOSITORY / document).read_text("utf-8")
    wanted = Elements(MarkdownIt("commonmark").enable("table").render(text)).found
    _, _, page = (site / shown_at(document)).read_text("utf-8").partition("<article")
    article, _, _ = page.partition("</article>")
    assert Elements(article).found == wanted


@needs_mkdocs
def test_the_plots_are_in_it_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert {"load.svg", "scaling.svg", "dashboard.png"} <= {path.name for path in site.rglob("*.*")}
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert [part for part in ('src="http', 'rel="stylesheet" href="http', "@import") if part in text] == []

"""Have Python-Markdown, which mkdocs uses, read numbered lists as GitHub does."""

from __future__ import annotations

from typing import Any

from markdown import Extension, Markdown
from markdown.blockprocessors import CodeBlockProcessor, ListIndentProcessor, OListProcessor, UListProcessor


class Lists(Extension):
    """A block of a numbered item is indented by three, as far as the item's text, not by four."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the library's name
        md.tab_length = 3
        # They have taken the length over already; the numbers are the library's priorities.
        processors = (
            (ListIndentProcessor, "indent", 90),
            (CodeBlockProcessor, "code", 80),
            (OListProcessor, "olist", 40),
            (UListProcessor, "ulist", 30),
        )
        for kind, name, priority in processors:
            md.parser.blockprocessors.register(kind(md.parser), name, priority)


def makeExtension(**options: Any) -> Extension:  # noqa: N802 - the library's name
    """Return the extension; mkdocs calls this by its name."""
    return Lists(**options)

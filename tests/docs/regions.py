"""Define the generated parts of the documentation, and replace them in their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leaderboard_cli.cluster.nginx_locations import locations, verbs
from tests.docs import reference, tables

REPOSITORY = Path(__file__).resolve().parents[2]


class Region(NamedTuple):
    """The part between two marks in a file, `<!-- name -->` and `<!-- /name -->`; the rest is written by hand."""

    file: str
    name: str
    make: Callable[[], str]
    marks: tuple[str, str] = ("<!-- {} -->\n", "\n<!-- /{} -->")

    @property
    def path(self) -> Path:
        return REPOSITORY / self.file

    def split(self, text: str) -> tuple[str, str, str]:
        """Return the text before, inside and behind. Raises ValueError without the marks."""
        start, end = (mark.format(self.name) for mark in self.marks)
        before, found, rest = text.partition(start)
        inside, found_end, behind = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"{self.file} has no part between {start!r} and {end!r}")
        return before + start, inside, end + behind

    def update(self) -> bool:
        """Write the generated text into the file; tell whether that changed it."""
        text = self.path.read_text("utf-8")
        before, inside, behind = self.split(text)
        made = self.make()
        if made == inside:
            return False
        self.path.write_text(before + made + behind, "utf-8")
        return True


NGINX_MARKS = ("    # <{}> made by `make docs` from leaderboard_core/calls.py\n", "\n    # </{}>")

GENERATED = (
    Region("README.md", "calls", lambda: reference.calls("docs/api.md")),
    Region("README.md", "settings", tables.settings),
    Region("docs/operations.md", "metrics", tables.metrics),
    Region("docs/operations.md", "redis-errors", tables.redis_errors),
    Region("docs/operations.md", "redis-rights", tables.redis_rights),
    Region("docs/api.md", "calls", reference.calls),
    Region("docs/api.md", "errors", tables.errors),
    Region("docs/api.md", "reference", reference.reference),
    Region("nginx/templates/default.conf.template", "calls", locations, NGINX_MARKS),
    Region("nginx/templates/default.conf.template", "verbs", verbs, NGINX_MARKS),
)

"""Define the generated parts of the documentation, and replace them in their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.docs import reference, tables

REPOSITORY = Path(__file__).resolve().parents[2]


class Region(NamedTuple):
    """The part between `<!-- name -->` and `<!-- /name -->` in a file; the rest is written by hand."""

    file: str
    name: str
    make: Callable[[], str]

    @property
    def path(self) -> Path:
        return REPOSITORY / self.file

    def split(self, text: str) -> tuple[str, str, str]:
        """Return the text before, inside and behind. Raises ValueError without the marks."""
        start, end = f"<!-- {self.name} -->\n", f"\n<!-- /{self.name} -->"
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


GENERATED = (
    Region("README.md", "calls", lambda: reference.calls("docs/api.md")),
    Region("README.md", "settings", tables.settings),
    Region("docs/operations.md", "metrics", tables.metrics),
    Region("docs/api.md", "calls", reference.calls),
    Region("docs/api.md", "errors", tables.errors),
    Region("docs/api.md", "reference", reference.reference),
)

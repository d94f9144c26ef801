"""Build the documents as a site: `python -m tests.docs.site [--out folder]`, or `make site`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.regions import REPOSITORY

FIRST = (
    "README",
    *(f"docs/{name}" for name in ("quickstart", "api", "operations", "architecture", "performance", "scaling")),
)
LAST = ("docs/glossary", "CONTRIBUTING", "SECURITY", "CHANGELOG")
STYLE = Path("docs/site.css")
LEFT_OUT = (Path("docs/package.md"),)
"""What an index of packages shows; the README says the same and more."""

_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def documents() -> list[Path]:
    """Return the documents, relative to the repository, in the order of the navigation."""
    decisions = sorted((REPOSITORY / "docs" / "decisions").glob("0*.md"))
    return [
        *(Path(f"{name}.md") for name in FIRST),
        Path("docs/decisions/README.md"),
        *(path.relative_to(REPOSITORY) for path in decisions),
        *(Path(f"{name}.md") for name in LAST),
    ]


def navigation() -> list[object]:
    """Return mkdocs' nav: the decisions are a section, each page is named by its heading."""
    start, *pages = [str(path) for path in documents()]
    decisions = [page for page in pages if page.startswith("docs/decisions/")]
    before, after = pages[: pages.index(decisions[0])], pages[pages.index(decisions[-1]) + 1 :]
    return [{"Start": start}, *before, {"Decisions": decisions}, *after]


def shown_at(document: Path) -> Path:
    """Return the page of a document, relative to the site; a README is its folder's start page."""
    return document.with_name("index.html") if document.stem == "README" else document.with_suffix(".html")


def gather(folder: Path) -> None:
    """Copy the documents, their style, and the pictures and files that they link to, as they lie to each other."""
    copied(STYLE, folder)
    for page in documents():
        copied(page, folder)
        text = (REPOSITORY / page).read_text("utf-8")
        for target in _LINK.findall(text):
            linked = (REPOSITORY / page).parent.joinpath(target).resolve()
            if linked.is_file() and linked.suffix != ".md":
                copied(linked.relative_to(REPOSITORY), folder)


def copied(path: Path, folder: Path) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REPOSITORY / path, target)


def build(out: Path) -> Path:
    """Build the site anew in `out`; return its start page. Raises SystemExit with what mkdocs warns of."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    gather(pages)
    own = {"INHERIT": str(REPOSITORY / "mkdocs.yml"), "docs_dir": str(pages), "site_dir": str(out / "html")}
    config = out / "mkdocs.yml"
    config.write_text(json.dumps({**own, "nav": navigation()}), "utf-8")
    # Not --quiet: with it --strict counts no warnings.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout)
    return out / "html" / "index.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "site")
    sys.stdout.write(f"{build(parser.parse_args().out.absolute())}\n")


if __name__ == "__main__":
    main()

"""Run the code blocks of a document in order, and compare their output with the document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.docs.recording import TIMES

END = "\x1e"
"""Printed after each block, so that each has its own output."""
SECONDS = 60
LANGUAGES = ("sh", "python", "js")

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>not run: [^\n]+|with docker) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A runnable block; `kind` and `output` are those of the block that follows directly, if any.

    `not_run` is its mark: `with docker`, or `not run: ` and why.
    """

    language: str
    code: str
    line: int
    kind: str = ""
    output: str = ""
    not_run: str = ""


def snippets(text: str) -> list[Snippet]:
    """List the runnable code blocks of a document, in order."""
    found: list[Snippet] = []
    blocks = list(_FENCE.finditer(text))
    for block, behind in zip(blocks, [*blocks[1:], None], strict=True):
        if block["language"] not in LANGUAGES:
            continue
        line = text.count("\n", 0, block.start("text"))
        kind = output = ""
        if behind and behind["language"] in ("json", "text") and not text[block.end() : behind.start()].strip():
            kind, output = behind["language"], behind["text"]
        found.append(Snippet(block["language"], block["text"], line, kind, output, block["mark"] or ""))
    return found


def run(found: list[Snippet], folder: Path, environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[Snippet, str]]:
    """Run the blocks and yield their outputs. Adjacent blocks of one language form one program; exports stay.

    Packages for JavaScript are those of `node_modules` in `folder` or above it.

    Fail with a program's stderr when it fails.
    """
    exported = folder / "exported.sh"
    exported.touch()
    todo = [snippet for snippet in found if not snippet.not_run]
    for number, (language, group) in enumerate(groupby(todo, lambda snippet: snippet.language)):
        session = list(group)
        program = folder / f"session-{number}.{'mjs' if language == 'js' else language}"
        program.write_text(_program(language, [snippet.code for snippet in session], exported), "utf-8")
        command = {"sh": ["sh"], "python": [sys.executable], "js": ["node"]}[language]
        done = subprocess.run(
            ["sh", "-c", '. "$0"; exec "$@"', str(exported), *command, str(program)],
            cwd=cwd,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        outputs = done.stdout.split(f"{END}\n")
        where = f"the block at line {session[min(len(outputs), len(session)) - 1].line}"
        assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert done.stderr == "", f"{where}: {done.stderr}"
        yield from zip(session, outputs, strict=False)


def _program(language: str, blocks: list[str], exported: Path) -> str:
    match language:
        case "sh":
            end = f"printf '{END}\\n'\n"
            return end.join(blocks) + f"{end}export -p > '{exported}'\n"
        case "python":
            return "".join(f"{block}\nprint('{END}', flush=True)\n" for block in blocks)
    return "".join(f'{block}\nconsole.log("{END}");\n' for block in blocks)


def same(snippet: Snippet, printed: str) -> bool:
    """Tell whether a block printed what the document says, times apart."""
    if snippet.kind == "json":
        return values(snippet.output) == values(printed)
    return snippet.output.split() == printed.split()


def values(text: str) -> list[Any]:
    """Parse the consecutive JSON values in a text, without their times."""
    decoder, found, at = json.JSONDecoder(object_hook=_timeless), [], 0
    while at < len(text := text.strip()):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def _timeless(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: 0 if name in TIMES else value for name, value in fields.items()}

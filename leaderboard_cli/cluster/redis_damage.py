"""Get a local Redis to start that cannot load its append-only file, as after a hard power-off."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

_CANNOT_LOAD = re.compile(
    r"Bad file format reading the append only file"
    r"|reading the append only file .*Input/output error"
    r"|Unknown command .* reading the append only file"
    r"|Unexpected end of file reading the append only file"
    r"|FATAL AOF MANIFEST FILE ERROR"
    r"|(?:AOF|append log) file .*(?:No such file or directory|doesn't exist)"
    r"|Short read or OOM loading DB"
    r"|Internal error in RDB reading"
    r"|Wrong RDB checksum"
    r"|Wrong signature trying to load DB"
)
"""What Redis and Valkey say of a damaged file; a port in use or a folder without permission is none of these."""
_CHUNK_BYTES = 1024 * 1024


def mend(folder: Path, log: Iterable[str]) -> str | None:
    """Mend the data in `folder` of a server that exited, after what it wrote to its log.

    Zero bytes at the end of an append-only file are cut off: a file system leaves them there when the power fails
    before the bytes came, and Redis itself puts up with a last command that is cut short. Where there are none, the
    folder is renamed, and the server starts empty. Returns what was done; None when damage was not the reason.
    """
    reason = next((line for line in log if _CANNOT_LOAD.search(line)), None)
    if reason is None:
        return None
    for file in sorted((*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof"))):
        if cut := _cut_zeros(file):
            return f"cut {cut:,} zero bytes off the end of {file}, as a power cut leaves them; starting it again"
    aside = folder.with_name(f"{folder.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    folder.rename(aside)
    try:
        folder.mkdir()
    except OSError:
        aside.rename(folder)
        raise
    # Without its advice, which names a tool that the bundled server comes without.
    said = (reason.partition("# ")[2] or reason).partition(": make a backup")[0]
    return (
        f"it cannot load its data ({said}). They are set aside in {aside}; it starts "
        "empty, and a worker rebuilds it from Postgres. Events that no worker had saved are only in that folder: "
        'docs/operations.md, "A local Redis that cannot load its file"'
    )


def _cut_zeros(file: Path) -> int:
    """Cut the zero bytes off the end of a file; return their number."""
    with file.open("r+b") as opened:
        size = end = opened.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK_BYTES)
            opened.seek(start)
            kept = opened.read(end - start).rstrip(b"\0")
            end = start + len(kept)
            if kept:
                break
        if end < size:
            opened.truncate(end)
            os.fsync(opened.fileno())
    return size - end

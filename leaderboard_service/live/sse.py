"""The wire format of Server-Sent Events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import hashlib

OPENING = b"retry: 1000\n\n"
"""Says how long (ms) a client waits before it connects again, and lets the head of the answer out."""
HEARTBEAT = b": heartbeat\n\n"


def event(name: str, data: bytes, event_id: str = "") -> bytes:
    """One event; `data` is JSON, which has no line breaks of its own."""
    head = f"id: {event_id}\nevent: {name}\n" if event_id else f"event: {name}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def id_of(data: bytes) -> str:
    """The name of a state: equal data has equal ids, whichever replica gives it."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()

"""Encodes Server-Sent Events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import hashlib

# No empty line behind either: it would end an event without data, which some clients hand to their users.
OPENING = b"retry: 1000\n"
"""How long (ms) a client waits before it reconnects; as a first chunk it also sends the head of the answer."""
HEARTBEAT = b": heartbeat\n"


def event(name: str, data: bytes, event_id: str = "") -> bytes:
    """Encode one event; `data` is JSON, which has no line breaks of its own."""
    head = f"id: {event_id}\nevent: {name}\n" if event_id else f"event: {name}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def id_of(data: bytes) -> str:
    """Hash a state to its id: equal data has equal ids on every replica."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()

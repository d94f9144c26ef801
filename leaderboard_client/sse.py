"""Parse Server-Sent Events from bytes as the HTML standard says, without I/O."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type, its data, and the id from which a broken feed resumes."""

    event: str
    data: str
    id: str = ""

    def json(self) -> Any:
        """Parse the data as JSON. Raises ValueError."""
        return json.loads(self.data)


class EventParser:
    """Turn the bytes of one feed into events; `restart` for each new connection.

    Lines end at CR, LF or CRLF only: a name in the data may hold U+2028, which other line splitters cut at.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new connection: drop what was incomplete in the last one."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._at_start = True
        self._after_cr = False
        self._event, self._id, self._data = "", self.last_event_id, list[str]()

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that these bytes complete."""
        text = self._decoder.decode(chunk)
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if text.endswith("\r"):
            self._after_cr = True
        *lines, last = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not lines:
            self._text += last
            return []
        lines[0], self._text = self._text + lines[0], last
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry_seconds = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Event(event, "\n".join(data), self._id) if data else None

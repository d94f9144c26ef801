"""State the version, that of the system and of its client."""

from __future__ import annotations

__version__ = "0.1.0"

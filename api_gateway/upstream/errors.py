"""The reasons why a service gave no usable answer, sorted by whether the request may be repeated."""

from __future__ import annotations


class UpstreamError(Exception):
    """A service gave no usable answer."""


class ConnectFailedError(UpstreamError):
    """No connection was made, so the service has not seen the request."""


class NotSentError(UpstreamError):
    """A connection had ended before anything was written to it."""


class BrokenOffError(UpstreamError):
    """The connection broke after the request may have been sent: it may or may not have been done."""


class TimedOutError(UpstreamError):
    """The service sent nothing for longer than the read timeout."""


def describe(error: BaseException) -> str:
    """Describe an error in one line, for logs and `/health`."""
    return str(error) or type(error).__name__

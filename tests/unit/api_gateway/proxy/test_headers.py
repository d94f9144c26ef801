"""What crosses the gateway of the heads of requests and answers."""

from __future__ import annotations

import pytest

from api_gateway.proxy.headers import read_request_head
from api_gateway.upstream.headers import read_response_head


def test_a_request_head_in_one_pass() -> None:
    head = read_request_head(
        [
            (b"host", b"h"), (b"authorization", b"Bearer t"), (b"content-length", b"12"), (b"x-request-id", b"other"),
            (b"idempotency-key", b"k"), (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2"),
        ],
        "3.3.3.3",
        "http",
        "id",
        trusted=True,
    )  # fmt: skip
    assert (head.authorization, head.content_length, head.has_body) == ("Bearer t", 12, True)
    assert head.has_idempotency_key
    assert head.forwarded_for == b"1.1.1.1, 2.2.2.2"
    assert head.forward == [
        (b"host", b"h"), (b"authorization", b"Bearer t"), (b"idempotency-key", b"k"),
        (b"x-forwarded-for", b"1.1.1.1, 2.2.2.2, 3.3.3.3"), (b"x-forwarded-proto", b"http"), (b"x-request-id", b"id"),
    ]  # fmt: skip


def test_a_request_without_a_body_has_none() -> None:
    assert not read_request_head([], "", "http", "i", trusted=True).has_body
    assert not read_request_head([(b"content-length", b"0")], "", "http", "i", trusted=True).has_body
    assert read_request_head([(b"transfer-encoding", b"chunked")], "", "http", "i", trusted=True).has_body


@pytest.mark.parametrize("proto", [b"ftp", b"", b"https, http"])
def test_a_strange_forwarded_proto_is_replaced(proto: bytes) -> None:
    head = read_request_head([(b"x-forwarded-proto", proto)], "", "http", "i", trusted=True)
    assert dict(head.forward)[b"x-forwarded-proto"] == b"http"


def test_a_response_head_in_one_pass() -> None:
    head = read_response_head(
        [
            (b"content-length", b"5"), (b"etag", b"x"), (b"connection", b"X-Mine, keep-alive, content-length"),
            (b"x-mine", b"1"), (b"server", b"s"), (b"date", b"d"), (b"x-request-id", b"i"), (b"keep-alive", b"1"),
        ]
    )  # fmt: skip
    assert head.headers == [(b"content-length", b"5"), (b"etag", b"x")]
    assert (head.content_length, head.transfer_encoding) == (5, None)


def test_codings_of_several_lines_are_one_list() -> None:
    head = read_response_head([(b"transfer-encoding", b" Chunked"), (b"transfer-encoding", b"gzip")])
    assert (head.headers, head.content_length, head.transfer_encoding) == ([], None, b"chunked,gzip")

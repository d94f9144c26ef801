"""Test that the Postman collection has exactly the API's routes, each with description, tests and example."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from leaderboard_client.feeds import RankFeed, TopFeed
from leaderboard_client.sse import EventParser
from leaderboard_service.app import create_app
from tests.acceptance.cluster import REPOSITORY
from tests.support.service import SECRET, settings_of

FOLDER = REPOSITORY / "postman"
COLLECTION: dict[str, Any] = json.loads((FOLDER / "leaderboard.postman_collection.json").read_text("utf-8"))
ENVIRONMENT: dict[str, Any] = json.loads((FOLDER / "local.postman_environment.json").read_text("utf-8"))
METHODS = {"get", "post", "put", "patch", "delete"}
STATUSES_OF_THE_RUN = {200, 201, 401, 403, 404, 409, 422}


def requests_of(folder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """List the requests of a folder and its subfolders, in order."""
    for item in folder["item"]:
        if "item" in item:
            yield from requests_of(item)
        else:
            yield item


def folder(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in COLLECTION["item"] if item["name"] == name)
    return found


def route_of(item: dict[str, Any]) -> tuple[str, str]:
    """Return method and path, with its parameter as OpenAPI writes it."""
    path = ["{user_id}" if "{{" in part else part for part in item["request"]["url"]["path"]]
    if path[0] == "boards":
        path[1:2] = ["{board}"] * len(path[1:2])
    return item["request"]["method"], "/" + "/".join(path)


ITEMS = list(requests_of(COLLECTION))


def test_every_route_is_there_and_no_other() -> None:
    document = create_app(settings_of({"JWT_SECRET": SECRET})).openapi()
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in METHODS & methods.keys()
    }
    named = {route_of(item) for item in ITEMS} - {("GET", "/nothing/here")}
    assert named == documented


def test_a_run_holds_nothing_that_does_not_end() -> None:
    streams = {route_of(item) for item in requests_of(folder("Live feeds"))}
    assert streams == {("GET", "/stream/top"), ("GET", "/stream/rank/{user_id}")}
    assert not streams & {route_of(item) for item in requests_of(folder("Calls"))}
    assert [item["name"] for item in COLLECTION["item"]] == ["Calls", "Live feeds"]
    command = json.loads((FOLDER / "package.json").read_text("utf-8"))["scripts"]["test"]
    assert "--folder Calls" in command


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["name"])
def test_each_call_is_described_tested_and_shown(item: dict[str, Any]) -> None:
    assert item["request"]["description"].endswith(".")
    tests = [event for event in item["event"] if event["listen"] == "test"]
    assert "pm.test(" in "\n".join(tests[0]["script"]["exec"])
    (example,) = item["response"]
    assert example["code"] in STATUSES_OF_THE_RUN
    assert example["body"].strip()
    assert example["originalRequest"]["url"] == item["request"]["url"]
    if example["_postman_previewlanguage"] == "json":
        assert isinstance(json.loads(example["body"]), dict)


@pytest.mark.parametrize(("name", "feed"), [("Follow a board", TopFeed()), ("Follow a player", RankFeed())])
def test_the_examples_of_live_feeds_are_what_a_client_understands(name: str, feed: TopFeed | RankFeed) -> None:
    (example,) = next(item["response"] for item in ITEMS if item["name"] == name)
    events = EventParser().feed(example["body"].encode())
    assert [event.event for event in events][:1] == ["snapshot"]
    assert all(feed.apply(event) is not None for event in events)


def test_every_kind_of_error_is_seen() -> None:
    assert {item["response"][0]["code"] for item in ITEMS} == STATUSES_OF_THE_RUN


def test_names_and_ids_are_unique() -> None:
    assert len({item["name"] for item in ITEMS}) == len(ITEMS) == len({item["id"] for item in ITEMS})


def test_it_is_a_collection_of_version_2_1_for_the_local_cluster_and_holds_no_secret() -> None:
    assert COLLECTION["info"]["schema"].endswith("/collection/v2.1.0/collection.json")
    values = {value["key"]: value["value"] for value in ENVIRONMENT["values"]}
    assert values == {"base_url": "http://127.0.0.1:8080", "server_token": "", "admin_token": ""}
    assert {variable["value"] for variable in COLLECTION["variable"]} == {""}
    for item in ITEMS:
        assert "eyJ" not in item["response"][0]["body"].replace("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2Vy", "")


def test_the_runner_is_pinned_and_comes_from_the_public_registry() -> None:
    package = json.loads((FOLDER / "package.json").read_text("utf-8"))
    lock = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))
    assert lock["packages"][""]["devDependencies"] == package["devDependencies"]
    assert lock["packages"]["node_modules/newman"]["version"] == package["devDependencies"]["newman"]
    sources = {entry["resolved"] for entry in lock["packages"].values() if "resolved" in entry}
    assert [source for source in sources if not source.startswith("https://registry.npmjs.org/")] == []
    assert all(entry.get("integrity") for path, entry in lock["packages"].items() if path)

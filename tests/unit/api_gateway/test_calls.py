"""The gateway and NGINX treat each of the service's routes as what it is: token, repeats, name in the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from api_gateway.app import needs_token
from api_gateway.metrics import route_of
from api_gateway.proxy.forwarding import may_repeat
from leaderboard_service.app import ROUTES
from leaderboard_service.openapi import Route

NGINX = Path(__file__).resolve().parents[3] / "nginx" / "templates" / "default.conf.template"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_gateway_knows_a_route(route: Route) -> None:
    path = route.path.replace("{user_id}", "alice")
    assert route_of(path) == route.path, "api_gateway/observe.py lists it for the metrics"
    assert needs_token(route.method, path) is route.token
    parameters = [parameter["name"] for parameter in route.openapi.get("parameters", ())]
    if "Idempotency-Key" in parameters:
        assert may_repeat(route.method, path, has_key=True)
    elif route.method == "POST":
        read = route.tag == "boards"
        assert may_repeat(route.method, path, has_key=False) is read
        # NGINX does not send a POST again by itself.
        assert (f"location = {path} {{" in NGINX.read_text("utf-8")) is read


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_door_can_find_a_route(route: Route) -> None:
    """Its tables know whole paths, and paths that end in one parameter."""
    assert route.path.count("{") == route.path.endswith("}")

"""Test rendering of the NGINX template as the container's envsubst does it."""

import re

import pytest

from leaderboard_cli.cluster.errors import ClusterError
from leaderboard_cli.cluster.nginx_server import TUNABLE, gateway_servers, render, template_path

VARIABLES = {
    **TUNABLE,
    "NGINX_LISTEN": "8080",
    "NGINX_GATEWAYS": gateway_servers(["api-gateway-1:4000", "api-gateway-2:4000"]),
}


def test_only_braced_upper_case_names_are_variables() -> None:
    assert render("a ${X} $X $host ${host} $$ ${X}", {"X": "1"}) == "a 1 $X $host ${host} $$ 1"


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(ClusterError, match="NGINX_LISTEN"):
        render("listen ${NGINX_LISTEN};", {})


def test_the_template_uses_exactly_the_documented_variables() -> None:
    template = template_path().read_text()
    used = set(re.findall(r"\$\{([A-Z_]+)\}", template))
    assert used == set(VARIABLES)
    documented = set(re.findall(r"^#   (NGINX_[A-Z_]+) ", template, re.MULTILINE))
    assert documented == used
    for name, default in TUNABLE.items():
        assert re.search(rf"^#   {name} .* {re.escape(default)}$", template, re.MULTILINE)


def test_the_rendered_template_lists_the_gateways() -> None:
    rendered = render(template_path().read_text(), VARIABLES)
    assert "${" not in rendered
    assert "server api-gateway-1:4000 max_fails=3 fail_timeout=2s; server api-gateway-2:4000" in rendered
    assert "rate=50r/s;" in rendered
    assert "$binary_remote_addr" in rendered

"""Test rendering of the NGINX template as the container's envsubst does it."""

import os
import re
import subprocess

import pytest

from leaderboard_cli.cluster.errors import ClusterError
from leaderboard_cli.cluster.nginx_server import (
    TUNABLE,
    connections,
    gateway_servers,
    is_yes,
    real_ip,
    render,
    shared_with,
    template_path,
)
from leaderboard_core.http.cross_origin import ANSWER_HEADERS
from leaderboard_core.settings import SettingsError

VARIABLES = {
    **TUNABLE,
    **connections("8080", "", ""),
    "NGINX_REAL_IP": real_ip("10.0.0.0/8, 192.168.0.7"),
    "NGINX_ORIGINS": shared_with("https://game.example"),
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
    assert "set_real_ip_from 10.0.0.0/8; set_real_ip_from 192.168.0.7/32;" in rendered


@pytest.mark.parametrize("trusted", ["10.0.0.1/8", "load-balancer", "10.0.0.1; include x"])
def test_a_trusted_proxy_that_is_no_network_is_named(trusted: str) -> None:
    with pytest.raises(ClusterError, match="NGINX_TRUSTED_PROXIES"):
        real_ip(trusted)


def test_pages_may_read_the_same_headers_of_nginx_and_of_gateways() -> None:
    assert f'default "{", ".join(ANSWER_HEADERS)}";' in template_path().read_text()


def test_an_origin_that_is_none_is_named() -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        shared_with('https://game.example" x; } include y')


@pytest.mark.parametrize(
    ("spoken", "trusted", "wanted"),
    [
        ("true", "", "NGINX_TRUSTED_PROXIES"),
        ("TRUE", "load-balancer", "NGINX_TRUSTED_PROXIES"),
        ("v2", "::1", "or false"),
    ],
)
def test_a_proxy_protocol_that_nobody_is_trusted_with_is_named(spoken: str, trusted: str, wanted: str) -> None:
    with pytest.raises(ClusterError, match=wanted):
        connections("8080", spoken, trusted)


def made_by_the_container(variable: str, **environ: str) -> list[str]:
    script = template_path().parents[1] / "entrypoint" / "10-directives.envsh"
    shell = ["sh", "-euc", f'. "{script}"; printf %s "${variable}"']
    done = subprocess.run(shell, env={**os.environ, "NGINX_LISTEN": "8080", **environ}, capture_output=True, check=True)
    assert os.access(script, os.X_OK), "the image passes over what is not executable"
    return done.stdout.decode().split()


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "10.0.0.0/8, 192.168.0.7/32,2001:db8::/32,"])
def test_the_container_trusts_the_same_proxies(trusted: str) -> None:
    assert made_by_the_container("NGINX_REAL_IP", NGINX_TRUSTED_PROXIES=trusted) == real_ip(trusted).split()


@pytest.mark.parametrize("origins", ["", "https://game.example", " HTTPS://Game.Example/, http://localhost:3000 ,"])
def test_the_container_shares_with_the_same_sites(origins: str) -> None:
    assert made_by_the_container("NGINX_ORIGINS", CORS_ORIGINS=origins) == shared_with(origins).split()


@pytest.mark.parametrize("spoken", ["", "false", "Yes", "true"])
def test_the_container_takes_the_same_connections(spoken: str) -> None:
    environ = {"NGINX_PROXY_PROTOCOL": spoken, "NGINX_TRUSTED_PROXIES": "10.0.0.0/8"}
    wanted = connections("8080", spoken, "10.0.0.0/8")
    listen = " ".join(made_by_the_container("NGINX_LISTEN", **environ))
    assert listen.removesuffix("; listen 127.0.0.1:8079") == wanted["NGINX_LISTEN"]
    assert listen.endswith("8079") is is_yes(spoken), "for its own check"
    assert made_by_the_container("NGINX_REAL_IP_HEADER", **environ) == [wanted["NGINX_REAL_IP_HEADER"]]


@pytest.mark.parametrize(("spoken", "trusted"), [("true", ""), ("v2", "10.0.0.0/8")])
def test_the_container_refuses_the_same(spoken: str, trusted: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        made_by_the_container("NGINX_LISTEN", NGINX_PROXY_PROTOCOL=spoken, NGINX_TRUSTED_PROXIES=trusted)
    assert b"NGINX_PROXY_PROTOCOL" in failed.value.stderr

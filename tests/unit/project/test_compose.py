"""Test what the compose file promises about addresses, without a Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest

from tests.docs.regions import REPOSITORY
from tests.support.compose import needs_compose

pytestmark = needs_compose
GATEWAYS = ("api-gateway-1", "api-gateway-2", "api-gateway-3")


def compose(*profiles: str, **environ: str) -> dict[str, Any]:
    """Return the file as compose understands it; that needs no engine."""
    options = ["--env-file", os.devnull, "--file", str(REPOSITORY / "docker-compose.yml")]
    options += [f"--profile={profile}" for profile in profiles]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["docker", "compose", *options, "config", "--format", "json"],
        env={**kept, "LEADERBOARD_ENV_FILE": os.devnull, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_operators_are_this_machine_and_the_containers_but_for_the_proxies() -> None:
    file = compose("observability")
    trusted = file["services"]["api-gateway-1"]["environment"]["TRUSTED_PROXIES"].split(",")
    bridges = {config["gateway"] for one in file["networks"].values() for config in one["ipam"]["config"]}
    for given in ("", "10.0.0.0/8"):
        environment = compose(STATUS_ALLOW=given)["services"]["api-gateway-1"]["environment"]
        allowed = [IPv4Network(one) for one in environment["STATUS_ALLOW"].split(",") if ":" not in one]
        shown = {address for address in bridges if any(ip_address(address) in network for network in allowed)}
        assert shown == (set() if given else bridges)
        assert IPv4Network(file["networks"]["default"]["ipam"]["config"][0]["ip_range"]) in allowed, "Prometheus"
        assert not any(ip_address(address) in network for address in trusted for network in allowed)


@pytest.mark.parametrize(
    ("variable", "opened"),
    [
        ("LEADERBOARD_BIND_ADDRESS", {"nginx"}),
        ("LEADERBOARD_GATEWAY_BIND_ADDRESS", set(GATEWAYS)),
        ("LEADERBOARD_PROMETHEUS_BIND_ADDRESS", {"prometheus"}),
        ("LEADERBOARD_GRAFANA_BIND_ADDRESS", {"grafana"}),
    ],
)
def test_one_variable_opens_one_role(variable: str, opened: set[str]) -> None:
    found = compose("observability", **{variable: "0.0.0.0"})["services"]
    published = {name: {port["host_ip"] for port in service.get("ports", ())} for name, service in found.items()}
    assert {name for name, addresses in published.items() if "0.0.0.0" in addresses} == opened
    assert {name for name, addresses in published.items() if addresses} == {"nginx", *GATEWAYS, "prometheus", "grafana"}


def test_grafana_has_no_password_that_everybody_knows() -> None:
    grafana = compose("observability")["services"]["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == ""
    script = grafana["entrypoint"][-1].replace("$$", "$").replace("exec /run.sh", "env")
    for given in ("", "mine"):
        environ = {"PATH": os.environ["PATH"], "GF_SECURITY_ADMIN_PASSWORD": given}
        done = subprocess.run(["sh", "-euc", script], env=environ, capture_output=True, text=True, check=True)
        (made,) = [line for line in done.stdout.splitlines() if line.startswith("GF_SECURITY_ADMIN_PASSWORD=")]
        password = made.partition("=")[2]
        assert password == given if given else len(password) == 48


@pytest.mark.parametrize("network", ["", "10.9.8"])
def test_exactly_the_proxies_are_trusted_and_they_keep_their_addresses(network: str) -> None:
    file = compose(LEADERBOARD_NETWORK=network)
    proxies = {
        place["ipv4_address"] for name in ("nginx", *GATEWAYS) for place in file["services"][name]["networks"].values()
    }
    assert len(proxies) == 7
    for name in (*GATEWAYS, "leaderboard-1", "worker"):
        assert set(file["services"][name]["environment"]["TRUSTED_PROXIES"].split(",")) == proxies
    for config in (config for one in file["networks"].values() for config in one["ipam"]["config"]):
        subnet, others = IPv4Network(config["subnet"]), IPv4Network(config["ip_range"])
        assert others.subnet_of(subnet)
        assert config["gateway"] not in proxies
        assert any(ip_address(address) in subnet for address in proxies)
        assert not any(ip_address(address) in others for address in proxies), "another container could get it"

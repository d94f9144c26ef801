"""Test a whole system behind a load balancer that speaks the PROXY protocol."""

from __future__ import annotations

import http.client
import json
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.acceptance.cluster import command, local_cluster

CLIENT = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n"


@pytest.mark.local_cluster
def test_nginx_takes_load_balancers_and_this_machine_has_a_gateway(tmp_path: Path) -> None:
    environ = {"NGINX_PROXY_PROTOCOL": "true", "NGINX_TRUSTED_PROXIES": "127.0.0.1", "LEADERBOARD_REPLICAS": "1"}
    with local_cluster(tmp_path / "data", environ=environ) as cluster:
        assert cluster.url == cluster.state["urls"]["gateway-1"]
        assert httpx.get(f"{cluster.url}/top").status_code == 200
        asked = subprocess.run(
            command("status", "--json"), env=cluster.environment(), capture_output=True, text=True, check=False
        )
        assert asked.returncode == 0, asked.stderr
        connection = http.client.HTTPConnection("127.0.0.1", cluster.state["ports"]["nginx"], timeout=10)
        connection.connect()
        connection.sock.sendall(CLIENT)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (403, "forbidden"), "no operator's address"
        connection.close()

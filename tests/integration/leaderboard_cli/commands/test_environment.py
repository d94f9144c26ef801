"""What the environment of a company or of another system holds does not get into our commands and processes."""

from __future__ import annotations

import pytest

from tests.conftest import Start
from tests.integration.api_gateway.support import refusing_port
from tests.support.command import run_command
from tests.support.service import SECRET


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_what_is_on_this_machine_is_not_asked_for_through_a_proxy(start: Start, scheme: str) -> None:
    api = await start()
    with refusing_port() as port:
        proxy = f"{scheme}://127.0.0.1:{port}"
        environ = {
            "http_proxy": proxy,
            "HTTP_PROXY": proxy,
            "all_proxy": proxy,
            "ALL_PROXY": proxy,
            "JWT_SECRET": SECRET,
        }
        code, output, complaint = await run_command("seed", "10", "--url", str(api.http.base_url), **environ)
        assert code == 0, complaint
        code, output, complaint = await run_command(
            "status", "--once", "--json", "--url", str(api.http.base_url), **environ
        )
    assert '"reachable": false' not in output.lower(), output
    assert "Traceback" not in complaint
    assert len(await api.scores()) == 10


async def test_a_terminal_that_is_not_utf_8_ends_no_command(start: Start) -> None:
    api = await start()
    await api.register("zoë", "EU")
    words = ("players", "password", "zoë", "--stdin", "--url", str(api.http.base_url))
    code, output, complaint = await run_command(
        *words, typed="a long password\n", JWT_SECRET=SECRET, PYTHONIOENCODING="ascii"
    )
    assert (code, output) == (0, "zo\\xeb has a new password."), complaint

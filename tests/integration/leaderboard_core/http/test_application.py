"""What FastAPI offers works on an `Application` as anywhere, whether its routes are compiled or not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from leaderboard_core.errors import Forbidden, Unavailable
from leaderboard_core.http.application import Application
from leaderboard_core.http.dependencies import FromState
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.settings import ProcessSettings, load
from leaderboard_core.telemetry.request_metrics import RequestMetrics
from tests.support.serving import serving, talk


class Store:
    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: list[str] = []


store = FromState("store")
StoreOf = Annotated[Store, Depends(store)]
asked: list[str] = []


async def user(authorization: Annotated[str | None, Header()] = None) -> str:
    asked.append("user")
    if authorization is None:
        raise HTTPException(403, "no")
    return authorization


User = Annotated[str, Depends(user)]


async def greeting(user: User) -> str:
    return f"hello {user}"


async def opened() -> AsyncIterator[str]:
    yield "opened"


class Item(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    price: int = 1


class Sparse(BaseModel):
    name: str
    note: str | None = None


class Filter(BaseModel):
    model_config = ConfigDict(frozen=True)

    limit: int = 10
    words: str = ""


class Point(NamedTuple):
    x: int
    y: int


router = APIRouter(route_class=CompiledRoute)


@router.get("/items/{name}")
async def read(name: str, query: Annotated[Filter, Query()], store: StoreOf) -> dict[str, Any]:
    """Read an item.

    More about it.
    """
    return {"name": name, "limit": query.limit, "words": query.words, "store": store.name}


@router.post("/items", status_code=201)
async def write(item: Item, user: User, hello: Annotated[str, Depends(greeting)]) -> Item:
    return item


@router.get("/point")
async def point() -> Point:
    return Point(1, 2)


@router.get("/fails/{how}")
async def fails(how: str, request: Request) -> None:
    raise {
        "forbidden": Forbidden(),
        "away": Unavailable(retry_after=3),
        "busy": HTTPException(503, "down", {"Retry-After": "9"}),
        "missing": HTTPException(404, "no such order"),
        "teapot": HTTPException(418, "short and stout"),
        "gone": ClientDisconnect(),
        "value": ValueError("a secret"),
    }[how]


@router.get("/yields")
async def yields(value: Annotated[str, Depends(opened)]) -> dict[str, str]:
    return {"value": value}


@router.get("/plain")
def plain() -> dict[str, str]:
    return {"thread": "pool"}


@router.get("/later")
async def later(tasks: BackgroundTasks, store: StoreOf) -> dict[str, bool]:
    tasks.add_task(store.tasks.append, "done")
    return {"ok": True}


@router.get("/many/{one}/{two}")
async def many(one: str, two: str) -> list[str]:
    return [one, two]


@router.get("/files/{path:path}")
async def files(path: str) -> Response:
    return PlainTextResponse(path)


@router.get("/streamed")
async def streamed() -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingResponse(pieces(), media_type="text/plain")


@router.delete("/removed/{name}", status_code=204)
async def remove(name: str) -> None:
    return None


@router.get("/page", response_class=HTMLResponse)
async def page() -> str:
    return "<p>hello</p>"


@router.get("/sparse", response_model=Sparse, response_model_exclude_none=True)
async def sparse() -> dict[str, Any]:
    return {"name": "pen", "note": None}


@router.get("/list")
async def listed() -> list[Item]:
    return [Item(name="pen"), Item(name="ink")]


@router.get("/first")
async def first() -> dict[str, int]:
    return {"route": 1}


@router.get("/first")
async def second() -> dict[str, int]:
    return {"route": 2}


@router.post("/pieces/{name}")
async def pieces(name: str, request: Request) -> dict[str, Any]:
    return {"bytes": sum([len(piece) async for piece in request.stream()]), "name": request.path_params["name"]}


@router.get("/lost-file")
async def lost_file() -> FileResponse:
    return FileResponse("/nowhere/to/be/found")


def make_app() -> Application:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[dict[str, Any]]:
        app.state.store = Store("real")
        yield {"store": app.state.store}

    app = Application(
        process=load(ProcessSettings, {"MAX_BODY_BYTES": "1024", "CLIENT_TIMEOUT_SECONDS": "0.1"}),
        name="test",
        metrics=RequestMetrics("test_requests", "test_seconds", (1,), CollectorRegistry()),
        lifespan=lifespan,
    )
    app.include_router(router)
    return app


@pytest.fixture(params=["compiled", "own way"])
def app(request: pytest.FixtureRequest) -> Application:
    """The application with compiled routes, and with FastAPI's own handlers."""
    made = make_app()
    if request.param == "own way":
        made.dependency_overrides[make_app] = make_app
    return made


def test_requests_are_answered_as_fastapi_answers_them(app: Application) -> None:
    with TestClient(app) as client:
        answer = client.get("/items/pen?limit=3&limit=4&more=1")
        assert answer.json() == {"name": "pen", "limit": 4, "words": "", "store": "real"}
        assert len(answer.headers["x-request-id"]) == 32
        written = client.post("/items", json={"name": "pen"}, headers={"Authorization": "me"})
        assert (written.status_code, written.json()) == (201, {"name": "pen", "price": 1})
        assert client.get("/files/a/b/c").text == "a/b/c"
        assert client.get("/streamed").text == "ab"
        assert client.get("/many/a/b").json() == ["a", "b"]
        assert client.get("/plain").json() == {"thread": "pool"}
        assert client.get("/yields").json() == {"value": "opened"}
        assert client.get("/point").json() in ({"x": 1, "y": 2}, [1, 2])
        head = client.head("/items/pen")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0


def test_a_byte_order_mark_in_front_of_json_is_ignored(app: Application) -> None:
    with TestClient(app) as client:
        marked = b'\xef\xbb\xbf{"name": "pen"}'
        answer = client.post("/items", content=marked, headers={"Authorization": "me"})
        assert (answer.status_code, answer.json()) == (201, {"name": "pen", "price": 1})


def test_answers_of_every_kind(app: Application) -> None:
    with TestClient(app) as client:
        removed = client.delete("/removed/pen")
        assert (removed.status_code, removed.content, "content-length" in removed.headers) == (204, b"", False)
        assert client.get("/page").headers["content-type"] == "text/html; charset=utf-8"
        assert client.get("/page").text == "<p>hello</p>"
        assert client.get("/sparse").json() == {"name": "pen"}
        assert client.get("/list").json() == [{"name": "pen", "price": 1}, {"name": "ink", "price": 1}]
        assert client.get("/first").json() == {"route": 1}
        assert client.post("/pieces/a", content=b"x" * 500).json() == {"bytes": 500, "name": "a"}
        assert client.post("/pieces/a", content=b"x" * 5000).json()["error"] == "payload_too_large"
        busy = client.get("/fails/busy")
        assert (busy.json(), busy.headers["retry-after"]) == ({"error": "unavailable", "message": "down"}, "9")
        assert client.get("/fails/missing").json() == {"error": "not_found", "message": "no such order"}


def test_a_file_that_is_gone_is_a_500(app: Application) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/lost-file")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert "x-request-id" in answer.headers


def test_a_dependency_runs_once_a_request(app: Application) -> None:
    asked.clear()
    with TestClient(app) as client:
        client.post("/items", json={"name": "pen"}, headers={"Authorization": "me"})
    assert asked == ["user"]


def test_refusals_have_the_envelope(app: Application) -> None:
    with TestClient(app) as client:
        for method, path, body, status, code in (
            ("GET", "/nothing", None, 404, "not_found"),
            ("DELETE", "/items/pen", None, 405, "method_not_allowed"),
            ("GET", "/items/pen?limit=x", None, 422, "invalid_payload"),
            ("POST", "/items", {"name": 1}, 422, "invalid_payload"),
            ("POST", "/items", {"name": "x" * 2000}, 413, "payload_too_large"),
            ("GET", "/fails/forbidden", None, 403, "forbidden"),
            ("GET", "/fails/away", None, 503, "unavailable"),
            ("GET", "/fails/teapot", None, 418, "i_m_a_teapot"),
        ):
            answer = client.request(method, path, json=body, headers={"Authorization": "me"})
            assert (answer.status_code, answer.json()["error"]) == (status, code), path
        assert client.delete("/items/pen").headers["allow"] == "GET, HEAD"
        assert client.get("/fails/away").headers["retry-after"] == "3"
        fields = client.get("/items/pen?limit=x").json()["fields"]
        assert [field["field"] for field in fields] == ["limit"]
        assert client.post("/items", json={}).status_code == 403, "dependencies run before the body is checked"


@pytest.mark.parametrize("path", ["/items", "/pieces/x"])
async def test_a_body_that_does_not_come_is_408_and_ends_the_connection(app: Application, path: str) -> None:
    async with serving(app) as (_, port):
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nContent-Length: 10\r\n\r\n".encode()
        answer, _, body = (await talk(port, head + b"half")).partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.lower().count(b"connection: close") == 1
    assert b'"error":"request_timeout"' in body


def test_a_defect_is_a_500_without_its_reason(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/fails/value")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


def test_dependencies_can_be_overridden() -> None:
    app = make_app()

    async def somebody() -> str:
        return "somebody"

    app.dependency_overrides[user] = somebody
    app.dependency_overrides[store] = lambda: Store("another")
    with TestClient(app) as client:
        assert client.post("/items", json={"name": "pen"}).status_code == 201
        assert client.get("/items/pen").json()["store"] == "another"
        app.dependency_overrides.clear()
        assert client.post("/items", json={"name": "pen"}).status_code == 403
        assert client.get("/items/pen").json()["store"] == "real"


def test_middleware_goes_around_compiled_routes_in_the_usual_order() -> None:
    app, order = make_app(), []

    def tell(name: str) -> None:
        @app.middleware("http")
        async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            order.append(f"{name} before")
            response = await call_next(request)
            order.append(f"{name} after")
            response.headers["x-seen"] = name
            return response

    tell("inner")
    tell("outer")
    app.add_middleware(CORSMiddleware, allow_origins=["https://game.example"])
    with TestClient(app) as client:
        answer = client.get("/items/pen", headers={"Origin": "https://game.example"})
        refused = client.get("/fails/forbidden")
    assert order[:4] == ["outer before", "inner before", "inner after", "outer after"]
    assert answer.headers["access-control-allow-origin"] == "https://game.example"
    assert (answer.headers["x-seen"], answer.json()["name"]) == ("outer", "pen")
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert (refused.status_code, refused.json()["error"], refused.headers["x-seen"]) == (403, "forbidden", "outer")
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/fails/value").json()["error"] == "internal_error"


def test_exception_handlers_can_be_replaced(app: Application) -> None:
    @app.exception_handler(Forbidden)
    async def refused(_: Request, error: Forbidden) -> Response:
        return JSONResponse({"mine": error.code}, 499)

    @app.exception_handler(418)
    def teapot(_: Request, error: Exception) -> Response:
        return PlainTextResponse("tea", 418)

    with TestClient(app) as client:
        assert client.get("/fails/forbidden").json() == {"mine": "forbidden"}
        assert client.get("/fails/teapot").text == "tea"


def test_background_tasks_and_mounted_applications(app: Application) -> None:
    other = FastAPI()

    @other.get("/hello")
    async def hello() -> str:
        return "from another application"

    app.mount("/other", other)
    with TestClient(app) as client:
        assert client.get("/later").json() == {"ok": True}
        assert app.state.store.tasks == ["done"]
        assert client.get("/other/hello").json() == "from another application"

    outer = FastAPI()
    outer.mount("/inner", app)
    with TestClient(app), TestClient(outer) as client:
        assert client.get("/inner/items/pen").json()["name"] == "pen"


async def test_httpx_reaches_it_without_a_server(app: Application) -> None:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client,
    ):
        assert (await client.get("/items/pen")).json()["store"] == "real"


def test_routes_may_be_added_before_the_start() -> None:
    app = make_app()

    @app.get("/added")
    async def added() -> dict[str, bool]:
        return {"added": True}

    with TestClient(app) as client:
        assert client.get("/added").json() == {"added": True}


def test_what_cannot_be_compiled_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), TestClient(make_app()):
        lines = [record.getMessage() for record in caplog.records if "own way" in record.getMessage()]
    assert sorted(lines) == [
        "DELETE /removed/{name} takes FastAPI's own way: its answer has no body",
        "GET /later takes FastAPI's own way: it takes background tasks",
        "GET /many/{one}/{two} takes FastAPI's own way: its path has more than one parameter with a segment behind it",
        "GET /page takes FastAPI's own way: its answer has a response class of its own",
        "GET /plain takes FastAPI's own way: its function is not `async def`",
        "GET /sparse takes FastAPI's own way: its response model leaves fields out",
        "GET /yields takes FastAPI's own way: the dependency opened is not a plain `async def`",
    ]


def test_the_document_comes_from_the_signatures() -> None:
    document = make_app().openapi()
    operation = document["paths"]["/items/{name}"]["get"]
    assert operation["summary"] == "Read an item"
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name", "limit", "words"]
    assert document["paths"]["/items"]["post"]["requestBody"]["required"] is True


def test_answers_can_be_held_against_their_models(caplog: pytest.LogCaptureFixture) -> None:
    app, wrong = make_app(), APIRouter(route_class=CompiledRoute)

    @wrong.get("/wrong", response_model=Item)
    async def answer() -> Response:
        return JSONReply({"name": 1})

    app.include_router(wrong)
    with TestClient(app) as client:
        assert client.get("/wrong").json() == {"name": 1}, "nothing is checked or filtered in production"
        app.check_responses = True
        assert client.get("/wrong").status_code == 500
    assert "validation error" in caplog.text

"""Turns FastAPI's analysis of a path operation (`route.dependant`) into one function, once, when an application starts.

FastAPI analyses a path operation when it is declared, and interprets that analysis for each request: exit stacks,
linear matching, `solve_dependencies`. That interpretation costs ten times what our handlers do. What is compiled here
means the same; a test holds both ways against each other.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi._compat import ModelField
from fastapi._compat.shared import field_annotation_is_sequence
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_typed_return_annotation
from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope

from leaderboard_core.http.bodies import check_encoding
from leaderboard_core.http.dependencies import FromState, Inline
from leaderboard_core.http.messages import BodyLimits
from leaderboard_core.http.requests import LimitedRequest

Compiled = Callable[[Scope, Receive, Mapping[bytes, bytes], str, BodyLimits], Awaitable[Any]]
"""Called as (scope, receive, first header of each name, path parameter, limits of the body); gives the answer."""

_CACHED_QUERY_BYTES: Final = 256
_CACHED_QUERIES: Final = 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NOT_UNDERSTOOD: Final = {
    "cookie_params": "a cookie",
    "websocket_param_name": "a WebSocket",
    "http_connection_param_name": "an HTTPConnection",
    "response_param_name": "a Response to fill",
    "background_tasks_param_name": "background tasks",
    "security_scopes_param_name": "security scopes",
    "own_oauth_scopes": "security scopes",
    "concurrency": "a limit of concurrency",
}


class NotCompilable(Exception):
    """The route uses what is not understood here, which the text names; it takes FastAPI's own way."""


def compile_route(route: RouteContext) -> Compiled:
    """Compile one path operation. Raises NotCompilable."""
    dependant: Dependant = route.dependant
    if not inspect.iscoroutinefunction(dependant.call):
        raise NotCompilable("its function is not `async def`")
    _check_answer(route, dependant.call)
    if dependant.body_params and (len(dependant.body_params) > 1 or route._embed_body_fields):
        raise NotCompilable("its body is made of several parameters")
    return _Compiler().compile(dependant, route.path_format or "")


def _check_answer(route: RouteContext, endpoint: Any) -> None:
    """Raises NotCompilable where FastAPI does more with what the function returns than to write it as JSON."""
    returned = get_typed_return_annotation(endpoint)
    if inspect.isclass(returned) and issubclass(returned, Response):
        return
    if not isinstance(route.response_class, DefaultPlaceholder):
        raise NotCompilable("its answer has a response class of its own")
    if route.status_code is not None and (route.status_code < 200 or route.status_code in (204, 304)):
        raise NotCompilable("its answer has no body")
    filters = ("include", "exclude", "exclude_unset", "exclude_defaults", "exclude_none")
    if any(getattr(route, f"response_model_{name}") for name in filters) or not route.response_model_by_alias:
        raise NotCompilable("its response model leaves fields out")


class _Compiler:
    """Writes the function's source, line by line; objects that it uses go into its namespace."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"LimitedRequest": LimitedRequest, "ValidationError": ValidationError}
        self._solved: dict[Any, str] = {}
        self._refusable = False
        self._has_request = False
        self._path_parameter = ""
        self._body_name = ""

    def compile(self, dependant: Dependant, path: str) -> Compiled:
        self._path_parameter = path.partition("{")[2].removesuffix("}")
        arguments = self._arguments(dependant, own=True)
        if self._refusable:
            self._lines.insert(0, "errors = None")
            refusal = f"{self._constant(RequestValidationError)}(errors, body={self._body_name or None})"
            self._emit("if errors is not None:", f"    raise {refusal}")
        self._emit(f"return await {self._constant(dependant.call)}({arguments})")
        body = "".join(f"    {line}\n" for line in ("state = scope['state']", *self._lines))
        source = f"async def call(scope, receive, headers, path_value, limits):\n{body}"
        exec(source, self._names)  # noqa: S102 - of names that this class makes, none from outside
        compiled: Compiled = self._names["call"]
        return compiled

    def _emit(self, *lines: str) -> None:
        self._lines += lines

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _arguments(self, dependant: Dependant, *, own: bool) -> str:
        """Emit what finds a function's arguments; `own`: it is the path operation itself, not a dependency."""
        for attribute, what in _NOT_UNDERSTOOD.items():
            if getattr(dependant, attribute):
                raise NotCompilable(f"it takes {what}")
        found: dict[str | None, str] = {}
        for dependency in dependant.dependencies:
            found[dependency.name] = self._dependency(dependency)
        found.pop(None, None)  # a dependency of the route, without a parameter
        for field in dependant.path_params:
            found[field.name] = self._refusable_value(own, self._validated(field, "path_value"), ("path", field.alias))
        for field in dependant.query_params:
            found[field.name] = self._query(own, field)
        for field in dependant.header_params:
            found[field.name] = self._header(own, field)
        for field in dependant.body_params:
            found[field.name] = self._body(own, field)
        if dependant.request_param_name:
            found[dependant.request_param_name] = self._request()
        return ", ".join(f"{name}={value}" for name, value in found.items())

    def _dependency(self, dependant: Dependant) -> str:
        call = dependant.call
        if isinstance(call, FromState):
            return f"state[{call.name!r}]"
        if isinstance(call, Inline):
            return f"{self._constant(call.value)}(scope)"
        if dependant.use_cache and call in self._solved:
            return self._solved[call]
        function = call if inspect.isroutine(call) else getattr(call, "__call__", None)  # noqa: B004
        if inspect.isclass(call) or not inspect.iscoroutinefunction(function):
            raise NotCompilable(f"the dependency {getattr(call, '__name__', call)} is not a plain `async def`")
        arguments = self._arguments(dependant, own=False)
        name = f"d{len(self._lines)}"
        self._emit(f"{name} = await {self._constant(call)}({arguments})")
        self._solved[call] = name
        return name

    def _request(self) -> str:
        if not self._has_request:
            self._has_request = True
            if self._path_parameter:
                self._emit(f"scope['path_params'] = {{{self._path_parameter!r}: path_value}}")
            self._emit("request = LimitedRequest(scope, receive, limits)")
        return "request"

    def _header(self, own: bool, field: ModelField) -> str:
        name, default = f"h{len(self._lines)}", self._constant(field.get_default())
        raw = self._constant(field.alias.lower().encode("ascii"))
        plain = _is_text(field.field_info.annotation) and not field.field_info.metadata
        if field.field_info.is_required() or (not plain and not own):
            raise NotCompilable("a header can be refused in a way that is not understood")
        self._emit(f"{name} = headers.get({raw})")
        if plain:
            self._emit(f"{name} = {default} if {name} is None else {name}.decode('latin-1')")
            return name
        value = self._validated(field, f"{name}.decode('latin-1')")
        checked = self._refusable_value(own, value, ("header", field.alias), unless=f"{name} is None")
        return f"{default} if {name} is None else {checked}"

    def _query(self, own: bool, field: ModelField) -> str:
        model = _model_of(field)
        if model is None:
            raise NotCompilable("its query is not one model")
        reader = self._constant(_QueryReader(model).read)
        return self._refusable_value(own, f"{reader}(scope['query_string'])", ("query",))

    def _body(self, own: bool, field: ModelField) -> str:
        model = _model_of(field)
        if model is None or type(field.field_info).__name__ != "Body" or not field.field_info.is_required():
            raise NotCompilable("its body is not one JSON model")
        name = self._body_name = f"b{len(self._lines)}"
        self._emit(f"{name} = await {self._request()}.body()")
        check = self._constant(check_encoding)
        self._emit("if b'content-encoding' in headers:", f"    {check}(headers[b'content-encoding'])")
        self._emit(f"if {name}[:3] == {_BYTE_ORDER_MARK!r}:", f"    {name} = {name}[3:]")
        validate = self._constant(model.__pydantic_validator__.validate_json)
        return self._refusable_value(own, f"{validate}({name})", ("body",))

    def _validated(self, field: ModelField, value: str) -> str:
        return f"{self._constant(field._type_adapter.validator.validate_python)}({value})"

    def _refusable_value(self, own: bool, value: str, location: tuple[str, ...], unless: str = "") -> str:
        """Emit the checking of a value; what is wrong with all of them is told at once."""
        if not own:
            raise NotCompilable("a dependency has parameters that can be refused")
        self._refusable = True
        name, collect = f"v{len(self._lines)}", self._constant(_collect)
        indent = "    " if unless else ""
        if unless:
            self._emit(f"if not ({unless}):")
        self._emit(
            f"{indent}try:",
            f"{indent}    {name} = {value}",
            f"{indent}except ValidationError as error:",
            f"{indent}    errors = {collect}(errors, error, {location!r})",
        )
        return name


class _QueryReader:
    """Checks query strings. They are few and come again and again; what one says is never changed."""

    def __init__(self, model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            if field_annotation_is_sequence(field.annotation):
                raise NotCompilable(f"the query parameter {name} may be repeated")
        self._validate = model.__pydantic_validator__.validate_python
        self._cache: OrderedDict[bytes, Any] | None = OrderedDict() if model.model_config.get("frozen") else None

    def read(self, raw: bytes) -> Any:
        """The model of a query string; of a repeated parameter the last counts. Raises ValidationError."""
        cache = self._cache
        if cache is not None and (known := cache.get(raw)) is not None:
            return known
        found = self._validate(dict(parse_qsl(raw.decode("latin-1"), True)) if raw else {})
        if cache is not None and len(raw) <= _CACHED_QUERY_BYTES:
            cache[raw] = found
            if len(cache) > _CACHED_QUERIES:
                cache.popitem(last=False)
        return found


def _collect(errors: list[Any] | None, error: ValidationError, location: tuple[str, ...]) -> list[Any]:
    found = error.errors(include_url=False, include_input=False)
    return [*(errors or ()), *({**one, "loc": (*location, *one["loc"])} for one in found)]


def body_model(dependant: Dependant) -> type[BaseModel] | None:
    """The model of a path operation's body, None where it has none or another kind of body."""
    return _model_of(dependant.body_params[0]) if len(dependant.body_params) == 1 else None


def _model_of(field: ModelField) -> type[BaseModel] | None:
    annotation: Any = field.field_info.annotation
    is_model = inspect.isclass(annotation) and issubclass(annotation, BaseModel)
    return cast(type[BaseModel], annotation) if is_model and field.field_info.is_required() else None


def _is_text(annotation: Any) -> bool:
    """Whether every text is valid: `str`, or `str | None` in any spelling."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    plain = {get_args(part)[0] if get_origin(part) is Annotated else part for part in parts}
    return plain <= {str, type(None)}

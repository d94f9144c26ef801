"""Routes that are compiled when an application starts, and the table in which it finds them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from fastapi._compat import ModelField
from fastapi.exceptions import ResponseValidationError
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from leaderboard_core.calls import CallTable, ends_of
from leaderboard_core.http.compiling import Compiled, NotCompilable, body_model, compile_route

log = logging.getLogger(__name__)


class CompiledRoute(APIRoute):
    """A FastAPI route that an `Application` compiles; give it to routers as `route_class`.

    Understood are one path parameter at the end of the path, a query model, headers, one JSON body model, `Request`,
    and dependencies that are plain `async def`. A route that uses anything else takes FastAPI's own way.

    An answer is sent as the function returns it: `response_model` documents it, and `Application.check_responses` holds
    it against the model in tests, but it filters nothing. The summary is the first line of the docstring.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, summary: str | None = None, **known: Any) -> None:
        first_line = (inspect.getdoc(endpoint) or "").partition("\n")[0].removesuffix(".")
        super().__init__(path, endpoint, summary=summary or first_line or None, **known)


class Entry:
    """One verb on one path: `function` answers it, or FastAPI itself where that is None."""

    __slots__ = ("_fields", "body_model", "function", "largest_body", "path", "status")

    def __init__(self, route: RouteContext, function: Compiled | None, largest_body: int | None) -> None:
        self.path: str = route.path_format or ""
        self.function = function
        self.status: int = route.status_code or 200
        self.largest_body = largest_body
        self.body_model = body_model(route.dependant)
        self._fields: dict[int, ModelField] = {
            int(status): field for status, field in (route.response_fields or {}).items() if str(status).isdigit()
        }
        if route.response_field is not None:
            self._fields.setdefault(self.status, route.response_field)

    def check(self, status: int, body: Any) -> None:
        """Hold an answer against its response model. Raises ResponseValidationError."""
        field = self._fields.get(status)
        if field is None:
            return
        _, errors = field.validate(body, loc=("response",))
        if errors:
            raise ResponseValidationError(errors=errors, body=body)


class RouteTable:
    """Finds the route of a request by one or two looks, however many there are.

    A whole path goes before one with a parameter, in whatever order they were declared. `others` are routes that only
    matching can find, after those of the table: mounts, paths with several parameters.
    """

    def __init__(self, routes: Iterable[BaseRoute], calls: CallTable) -> None:
        self.others: list[RouteContext] = []
        self._uncompiled: list[str] = []
        self._methods: set[str] = set()
        self._paths: set[str] = set()
        self._prefixes: set[str] = set()
        self._exact: dict[tuple[str, str], Entry] = {}
        self._by_prefix: dict[tuple[str, str], Entry] = {}
        self._by_ends: dict[tuple[str, str, str], Entry] = {}
        self._ends: set[tuple[str, str]] = set()
        self._has_text_parameters = False
        self._trees: tuple[str, ...] = ()
        """Prefixes of paths whose parameter may have slashes."""
        for route in iter_route_contexts(list(routes)):
            if isinstance(route.original_route, APIRoute):
                self._add(route, calls)
            else:
                self.others.append(route)

    def find(self, method: str, path: str) -> tuple[Entry | None, str]:
        """The route of a verb and a path, and the value of its path parameter."""
        entry = self._exact.get((method, path))
        if entry is not None:
            return entry, ""
        if self._trees and path.startswith(self._trees):
            tree = next(tree for tree in self._trees if path.startswith(tree))
            return self._by_prefix.get((method, tree)), path[len(tree) :]
        if self._has_text_parameters:
            cut = path.rfind("/") + 1
            if cut != len(path):
                entry = self._by_prefix.get((method, path[:cut]))
                if entry is None and self._ends and (ends := ends_of(path, cut)) is not None:
                    return self._by_ends.get((method, *ends)), path[len(ends[0]) : cut - 1]
                return entry, path[cut:]
        return None, ""

    def allowed(self, path: str) -> set[str]:
        """The verbs of a path; empty when no route has it."""
        scope = {"type": "http", "method": "", "path": path}
        named = {
            method for one in self.others if one.matches(scope)[0] is not Match.NONE for method in one.methods or ()
        }
        return named | {method for method in self._methods if self.find(method, path)[0] is not None}

    def matches(self, path: str, scope: Scope) -> bool:
        """Whether some route has this path, with whatever verb."""
        if path in self._paths or (self._trees and path.startswith(self._trees)):
            return True
        cut = path.rfind("/") + 1
        if self._has_text_parameters and cut != len(path):
            known = path[:cut] in self._prefixes or ends_of(path, cut) in self._ends
            if known:
                return True
        others = self.others
        return bool(others) and any(one.matches(scope)[0] is not Match.NONE for one in others)

    def log_uncompiled(self) -> None:
        """Say once which routes take FastAPI's own way, and why."""
        for line in self._uncompiled:
            log.info("%s", line)

    def _add(self, route: RouteContext, calls: CallTable) -> None:
        path = route.path_format or ""
        prefix, parameter, rest = path.partition("{")
        kinds = [type(one).__name__ for one in route.param_convertors.values()]
        suffix = rest.partition("}")[2]
        known = kinds == ["StringConvertor"] or (kinds == ["PathConvertor"] and not suffix)
        if parameter and (not known or suffix.rfind("/") > 0):
            self.others.append(route)
            self._say(route, "its path has more than one parameter with a segment behind it")
            return
        if kinds == ["PathConvertor"]:
            self._trees = (*self._trees, prefix)
        elif parameter:
            self._has_text_parameters = True
        methods = set(route.methods or ())
        endpoint = calls.find(path)
        function = self._compile(route)
        if suffix:
            self._ends.add((prefix, suffix))
        else:
            (self._prefixes if parameter else self._paths).add(prefix)
        for method in methods | ({"HEAD"} if "GET" in methods else set()):
            call = None if endpoint is None else endpoint.call(method)
            entry = Entry(route, function, None if call is None else call.largest_body)
            # As in FastAPI, of two routes of one path the first answers.
            if suffix:
                self._by_ends.setdefault((method, prefix, suffix), entry)
            else:
                (self._by_prefix if parameter else self._exact).setdefault((method, prefix), entry)
            self._methods.add(method)

    def _compile(self, route: RouteContext) -> Compiled | None:
        if not isinstance(route.original_route, CompiledRoute):
            return None
        try:
            return compile_route(route)
        except NotCompilable as reason:
            self._say(route, str(reason))
            return None

    def _say(self, route: RouteContext, reason: str) -> None:
        if isinstance(route.original_route, CompiledRoute):
            methods = "/".join(sorted(route.methods or ()))
            self._uncompiled.append(f"{methods} {route.path} takes FastAPI's own way: {reason}")

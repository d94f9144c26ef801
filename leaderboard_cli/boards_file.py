"""Read a file of boards and their rules, JSON or YAML, and say what is wrong with it in the words of its author."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NoReturn

import yaml

Boards = dict[str, dict[str, Any]]
"""The rules of each board, by its name."""

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_ODD_ERRORS = (AttributeError, KeyError, TypeError)
"""What YAML's loader raises for a tag that does not fit, and JSON for what only YAML has."""
_EXAMPLE = 'such as {"main": {"min_score": 0}}'


class BadFile(Exception):
    """The file cannot be taken; the text says where, and what to write instead."""


def read_boards(text: str, name: str) -> Boards:
    """Read the text of a file whose `name` says by its end which of the two it is; else JSON is tried first.

    Raises BadFile.
    """
    suffix = name.lower().rpartition(".")[2]
    as_yaml = suffix in ("yaml", "yml") or (suffix != "json" and not _is_json(text))
    try:
        found = _read_yaml(text) if as_yaml else json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_each_once)
        json.dumps(found)  # what YAML has and JSON does not is no rule
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if isinstance(error, json.JSONDecodeError) else "YAML" if as_yaml else "JSON"
        raise BadFile(f"{name} cannot be read as {kind}: {_described(error)}") from error
    except RecursionError as error:
        raise BadFile(f"{name} is nested too deeply.") from error
    except _ODD_ERRORS as error:
        raise BadFile(f"{name} has something that no rule can be: {error}.") from error
    needed = f"{name} is to have one object of rules for each board, {_EXAMPLE}"
    if not isinstance(found, dict):
        raise BadFile(f"{needed}.")
    if wrong := [str(board) for board, rules in found.items() if not isinstance(rules, dict)]:
        raise BadFile(f"{needed}; {', '.join(wrong)} has none.")
    return found


def _is_json(text: str) -> bool:
    """Whether it is JSON, or is meant to be."""
    return text.lstrip("\ufeff \t\r\n").startswith(("{", "["))


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"'{key}' is there twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """Loads what means the same in every YAML, and names what does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                _refuse(key, f"{_shown(key)} is no text in YAML; a name is one: write {_quoted(key)}")
            line = key.start_mark.line + 1
            if key.value in lines:
                _refuse(key, f"'{key.value}' is there twice, first in line {lines[key.value]}")
            lines[key.value] = line
        return super().construct_mapping(node, deep)

    def boolean(self, node: yaml.ScalarNode) -> bool:
        if node.value.lower() not in ("true", "false"):
            meant = str(yaml.SafeLoader.bool_values[node.value.lower()]).lower()
            why = f"{node.value} is a text in one YAML and {meant} in another: write {meant}, or {_quoted(node)}"
            _refuse(node, why)
        return bool(node.value.lower() == "true")

    def whole(self, node: yaml.ScalarNode) -> int:
        if not _WHOLE.fullmatch(node.value):
            read = self.construct_yaml_int(node)
            _refuse(node, f"{node.value} is {read} in one YAML and not in another: write {read}, or {_quoted(node)}")
        return int(node.value)

    def moment(self, node: yaml.ScalarNode) -> NoReturn:
        _refuse(node, f"{node.value} is a date in YAML: write {_quoted(node)}")


_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.boolean)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.moment)


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - it is a safe loader


def _refuse(node: yaml.Node, why: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=why, problem_mark=node.start_mark)


def _shown(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "a list or an object"


def _quoted(node: yaml.Node) -> str:
    return f'"{node.value}"' if isinstance(node, yaml.ScalarNode) else "a text"


def _described(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def as_text(boards: Mapping[str, Mapping[str, Any]]) -> str:
    """Write boards as `read_boards` takes them, whatever the file is called."""
    return json.dumps(boards, indent=2, ensure_ascii=False)

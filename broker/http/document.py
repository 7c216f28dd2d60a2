"""``/openapi.json``: the route table as an OpenAPI 3.1 document."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from broker import __version__

from .bodies import reply
from .context import TABLE
from .refusals import front

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"}, "type": {"type": "string"},
                "code": {"type": ["string", "null"]}, "param": {"type": ["string", "null"]},
            },
        }
    },
}

_ERRORS = {
    "openai": _ERROR,
    "messages": {
        "type": "object",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"const": "error"}, "request_id": {"type": "string"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}, "details": {"type": "object"}},
            },
        },
    },
    "ollama": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}, "code": {"type": "string"}}},
    "mcp": {
        "type": "object",
        "required": ["jsonrpc", "id", "error"],
        "properties": {
            "jsonrpc": {"const": "2.0"}, "id": {"type": ["string", "integer", "null"]},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {"type": "object"}},
            },
        },
    },
}
_ERROR_NAMES = {"openai": "Error", "messages": "MessagesError", "ollama": "OllamaError", "mcp": "McpError"}


async def openapi(request: web.Request) -> web.Response:
    return reply(describe(request.app[TABLE]))


def describe(routes) -> dict:
    """The document for a table of routes."""
    types = [_plain(kind) for route in routes for kind in (route.takes, route.gives) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    found = iter(schemas)
    paths: dict[str, dict] = {}
    for route in routes:
        takes = next(found) if route.takes is not None else None
        gives = next(found) if route.gives is not None else None
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, takes, gives)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reveille broker", "version": __version__},
        "components": {
            "schemas": {**components, **{name: _ERRORS[kind] for kind, name in _ERROR_NAMES.items()}},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "paths": paths,
    }


def _plain(kind: object) -> object:
    """To a reader a Raw field is any JSON; msgspec cannot write such a field's default into a schema."""
    fields = msgspec.structs.fields(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else ()
    if not any(field.type is msgspec.Raw for field in fields):
        return kind
    shown = [
        (field.encode_name, Any, msgspec.UNSET) if field.type is msgspec.Raw
        else (field.encode_name, field.type) if field.required
        else (field.encode_name, field.type, field.default)
        for field in fields
    ]
    return msgspec.defstruct(kind.__name__, shown, namespace={"__doc__": kind.__doc__})


def _said(route) -> str:
    """Two methods may have one handler; ids are unique."""
    return f"patch_{route.handler.__name__}" if route.method == "PATCH" else route.handler.__name__


def _operation(route, path: str, takes: dict | None, gives: dict | None) -> dict:
    answer: dict = {"description": "OK"}
    if gives is not None:
        answer["content"] = {"application/json": {"schema": gives}}
    elif route.streams:
        answer["content"] = {route.streams: {}, "application/json": {}}
    elif route.status != 204:
        answer["content"] = {"application/json": {"schema": {}}}
    operation: dict = {
        "summary": route.summary,
        "operationId": f"{route.handler.__module__.rsplit('.', 1)[-1]}.{_said(route)}",
        "responses": {
            str(route.status): answer,
            "default": {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR_NAMES[front(path)]}"}}},
            },
        },
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"\{(\w+)\}", path)
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.method in ("POST", "PUT", "PATCH"):
        operation["requestBody"] = {"content": {"application/json": {"schema": takes if takes is not None else {}}}}
    if route.role != "public":
        operation["security"] = [{"token": []}, {"key": []}]
        operation["description"] = f"Role: {route.role or 'any'}."
    return operation

"""The documentation of the API as one page without scripts: the usual ones load theirs from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment


def documentation(schema: Mapping[str, Any]) -> str:
    """Return an OpenAPI schema as HTML."""
    source = (resources.files("recsys.serving") / "page" / "docs.html.jinja").read_text(encoding="utf-8")
    routes = [
        {
            "method": method.upper(), "path": path, "summary": about.get("summary", ""),
            "text": about.get("description", ""),
            "parameters": [_parameter(one) for one in about.get("parameters", ())],
            "body": _fields(schema, about.get("requestBody", {})),
        }
        for path, methods in schema["paths"].items()
        for method, about in methods.items()
    ]  # fmt: skip
    page = Environment(autoescape=True).from_string(source)
    return page.render(title=schema["info"]["title"], version=schema["info"]["version"], routes=routes)


def _parameter(one: Mapping[str, Any]) -> dict[str, str]:
    return {"name": one["name"], "kind": _kind(one.get("schema", {})), "text": one.get("description", ""),
            "needed": "required" if one.get("required") else ""}  # fmt: skip


def _fields(schema: Mapping[str, Any], body: Mapping[str, Any]) -> list[dict[str, str]]:
    found = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in found:
        found = schema["components"]["schemas"][found["$ref"].rsplit("/", 1)[1]]
    needed = set(found.get("required", ()))
    return [
        _parameter({"name": name, "schema": one, "description": one.get("description", ""), "required": name in needed})
        for name, one in found.get("properties", {}).items()
    ]


def _kind(one: Mapping[str, Any]) -> str:
    if "anyOf" in one:
        return " or ".join(_kind(each) for each in one["anyOf"])
    if "enum" in one:
        return " | ".join(map(str, one["enum"]))
    return f"list of {_kind(one.get('items', {}))}" if one.get("type") == "array" else str(one.get("type", "any"))

"""Boundary between a validator's error and the sentence a person reads: what was expected, and what was found."""

from typing import Any, Final

from pydantic_core import ErrorDetails

from gateway.telemetry.logs import mask

_LONGEST_FOUND: Final = 80

_SHAPES: Final = {
    "name": "small letters, digits and '-' inside, at most 63 characters, such as kind-east",
    "label": "one line of text",
    "tlsServerName": "a host name",
    "host": "an address or a host name, such as 127.0.0.1",
    "audience": "one word without spaces, such as k-mcp",
    "allowedHosts": "a Host header, such as gateway.example:8443 or gateway.example:*",
    "allowedOrigins": "an origin, such as https://console.example",
    "subresources": "plural/subresource, such as pods/exec",
    "allow": "a name in Kubernetes' spelling",
    "deny": "a name in Kubernetes' spelling",
    "restrictedGroups": "an API group, such as example.com",
}
"""What a pattern means, by the key whose value it checks."""

_KINDS: Final = {
    "missing": "is required",
    "model_type": "expected a section with keys and values",
    "model_attributes_type": "expected a section with keys and values",
    "dict_type": "expected a section with keys and values",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "path_type": "expected a path",
    "string_type": "expected text",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
}


def sentence(error: ErrorDetails, *, environment: bool = False) -> str:
    """Say what was expected and, where that can do no harm, what was found."""
    return f"{_expected(error, environment)}{_found(error)}"


def _expected(error: ErrorDetails, environment: bool) -> str:  # noqa: FBT001
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind == "string_pattern_mismatch":
        key = next((step for step in reversed(error["loc"]) if isinstance(step, str)), "")
        return f"expected {_SHAPES.get(key) or 'text of the form ' + context['pattern']}"
    for bound, words in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if bound in context:
            return f"expected {words} {context[bound]:g}"
    for bound, words in (("min_length", "at least"), ("max_length", "at most")):
        if bound in context:
            return f"expected {words} {context[bound]} characters"
    expected = _KINDS.get(kind) or error["msg"].replace("Input should be", "expected").replace("value is", "is")
    if environment and expected == "expected a list":
        return 'expected a list as JSON, such as ["one", "two"]'
    if kind == "string_type" and isinstance(error["input"], bool | int | float):
        return "expected text; put it in quotes"
    return expected


def _found(error: ErrorDetails) -> str:
    if error["type"] in ("missing", "value_error") and not isinstance(error["input"], str):
        return ""
    found = error["input"]
    if isinstance(found, dict):
        return "; found keys and values"
    if isinstance(found, list):
        return "; found a list"
    return f"; found {_shown(found)}" if _harmless(found) else ""


def _harmless(found: Any) -> bool:
    """Tell whether a value may be shown: no file's content, and no URL with a password in it."""
    if isinstance(found, str):
        return "\n" not in found and "@" not in found
    return found is None or isinstance(found, bool | int | float)


def _shown(found: Any) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    text = mask(repr(found))
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}…"

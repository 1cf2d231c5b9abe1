"""Writes the pages of docs/ that are made from the code: `python -m tests.documents`, or `make docs`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpe_openai

from gateway.access.confirmation import Confirmation
from gateway.access.continuation import Continuation
from gateway.access.plans import Plans, UsedInMemory
from gateway.access.sealing import SealingKeys
from gateway.tools import all_tools
from gateway.tools.tool import Tool
from tests import alerts, metrics

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# Tools

Made from the code by `make docs`. Arguments are in camelCase; strings such as "true" and "5" are taken as meant; null
and empty strings count as left out. Every answer is one text whose first line names the cluster. All schemas together
are {tokens:,} tokens (o200k_base). Why whole objects are compact JSON: [formats.md](formats.md).
"""


def tools() -> tuple[Tool[Any], ...]:
    """Return every tool, offered or not."""
    keys = SealingKeys()
    return all_tools(Continuation(keys), Confirmation(Plans(keys, UsedInMemory(time.monotonic), time.time)))


def schema_tokens(*offered: Tool[Any]) -> int:
    """Count the tokens of what a client shows its model of these tools."""
    shown = [{"name": t.name, "description": t.description, "inputSchema": t.input_schema()} for t in offered]
    return len(bpe_openai.get_encoding("o200k_base").encode(json.dumps(shown, separators=(",", ":"))))


def tools_page() -> str:
    """Return docs/tools.md."""
    every = tools()
    return HEAD.format(tokens=schema_tokens(*every)) + "".join(part for tool in every for part in _section(tool))


def _section(tool: Tool[Any]) -> Iterator[str]:
    yield f"\n## `{tool.name}`\n\n{tool.description}\n\n"
    hints = ["read-only" if tool.read_only else "destructive" if tool.destructive else "writes"]
    if tool.needs:
        hints.append(f"offered where the cluster's policy has `writes: [{tool.needs}]`")
    yield f"Counts as one of the caller's {tool.rate}; {', '.join(hints)}.\n\n"
    schema = tool.input_schema()
    yield "| argument | type | default | |\n|---|---|---|---|\n"
    for name, argument in schema["properties"].items():
        default = "needed" if name in schema.get("required", ()) else _code(argument.get("default"))
        yield f"| `{name}` | {_type(argument)} | {default} | {argument.get('description', '')} |\n"
        for inner, field in argument.get("properties", {}).items():
            text = field.get("description", "")
            yield f"| `{name}.{inner}` | {_type(field)} | {_code(field.get('default'))} | {text} |\n"


def _code(value: object) -> str:
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _type(argument: dict[str, Any]) -> str:
    if "enum" in argument:
        return " ".join(f"`{word}`" for word in argument["enum"])
    if "anyOf" in argument:
        return " or ".join(_type(option) for option in argument["anyOf"])
    return str(argument.get("type", "any"))


PAGES = {"tools.md": tools_page, "alerts.md": alerts.page, "metrics.md": metrics.page}

if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text(), encoding="utf-8")
    alerts.MANIFEST.write_text(alerts.manifest(), encoding="utf-8")

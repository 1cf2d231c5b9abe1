"""Boundary between a cluster behind a gateway and the entry that names it in an agent's client; pure.

No entry holds a token: each client asks a command, a person, or its environment.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an entry is about: the cluster's name, the gateway's URL, and the words of `token` and of `connect`."""

    name: str
    url: str
    token_command: Sequence[str]
    connect_command: Sequence[str]

    @property
    def endpoint(self) -> str:
        """The cluster's own path: clients merge entries whose URLs are equal."""
        return f"{self.url.rstrip('/')}/{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that the client takes the token from."""
        return f"{re.sub('[^A-Z0-9]', '_', self.name.upper())}_TOKEN"


def _claude_code(wanted: Wanted) -> dict[str, Any]:
    helper = shlex.join([*wanted.token_command, "--output", "header"])
    return _servers("mcpServers", wanted, {"type": "http", "url": wanted.endpoint, "headersHelper": helper})


def _claude_desktop(wanted: Wanted) -> dict[str, Any]:
    command, *arguments = wanted.connect_command
    return _servers("mcpServers", wanted, {"command": command, "args": arguments})


def _vscode(wanted: Wanted) -> dict[str, Any]:
    asked = f"{wanted.name}-token"
    prompt = {
        "type": "promptString",
        "id": asked,
        "description": f"Token for {wanted.name}: {shlex.join(wanted.token_command)}",
        "password": True,
    }
    entry = {"type": "http", "url": wanted.endpoint, "headers": {"Authorization": f"Bearer ${{input:{asked}}}"}}
    return {**_servers("servers", wanted, entry), "inputs": [prompt]}


def _cursor(wanted: Wanted) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer ${{env:{wanted.variable}}}"}
    return _servers("mcpServers", wanted, {"url": wanted.endpoint, "headers": headers})


def _mcp_json(wanted: Wanted) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer ${{{wanted.variable}}}"}
    return _servers("mcpServers", wanted, {"type": "http", "url": wanted.endpoint, "headers": headers})


def _servers(key: str, wanted: Wanted, entry: dict[str, Any]) -> dict[str, Any]:
    return {key: {wanted.name: entry}}


@dataclass(frozen=True, slots=True)
class Client:
    """One client's form: what makes its entry, where that goes, and whether the token comes from the environment."""

    entry: Callable[[Wanted], dict[str, Any]]
    place: str
    from_environment: bool = False


CLIENTS: Final[Mapping[str, Client]] = MappingProxyType(
    {
        "claude-code": Client(_claude_code, ".mcp.json of a project, or `claude mcp add-json`"),
        "claude-desktop": Client(_claude_desktop, "claude_desktop_config.json (Settings, Developer, Edit Config)"),
        "vscode": Client(_vscode, ".vscode/mcp.json, or the user's (MCP: Open User Configuration)"),
        "cursor": Client(_cursor, ".cursor/mcp.json of a project, or ~/.cursor/mcp.json", from_environment=True),
        "mcp-json": Client(_mcp_json, "mcp.json of a client that takes variables", from_environment=True),
    }
)


def entry_text(client: str, wanted: Wanted) -> tuple[str, str]:
    """Return a client's entry as JSON, and where it goes with what is to be done first."""
    form = CLIENTS[client]
    advice = f"Goes into {form.place}."
    if form.from_environment:
        advice += f" Before the client starts: export {wanted.variable}=$({shlex.join(wanted.token_command)})"
    return json.dumps(form.entry(wanted), indent=2), advice

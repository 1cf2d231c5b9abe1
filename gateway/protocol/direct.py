"""Boundary to JSON-RPC for the ordinary `tools/call`, which needs nothing of the SDK's transports.

Most calls ask nobody, report no progress and are answered in one piece. Read and written here, such a call costs a
fraction of the streams, tasks and repeated validation it takes on the SDK's way. Whatever is not plainly ordinary is
not for here: the SDK serves it, and says what is wrong with it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
)

CALL: Final = "tools/call"
_MESSAGE: Final = {"jsonrpc", "id", "method", "params"}
_PARAMETERS: Final = {"name", "arguments", "_meta"}
_NOT_ORDINARY: Final = frozenset({"progressToken", LOG_LEVEL_META_KEY})


class Cancellation:
    """A client's way to take back one call (specification, "Cancellation")."""

    __slots__ = ("_deadline", "is_called")

    def __init__(self) -> None:
        """Start with nothing to end."""
        self.is_called = False
        self._deadline: asyncio.Timeout | None = None

    def over(self, deadline: asyncio.Timeout) -> asyncio.Timeout:
        """Return the deadline, which `end` will bring forward."""
        self._deadline = deadline
        return deadline

    def end(self) -> None:
        """End the call now."""
        self.is_called = True
        if self._deadline is not None:
            self._deadline.reschedule(0)


@dataclass(frozen=True, slots=True)
class DirectCall:
    """An ordinary `tools/call`. `version` is the one its `_meta` names, empty in the handshake era."""

    request_id: str | int
    name: str
    arguments: dict[str, Any]
    meta: Mapping[str, Any]
    version: str
    can_be_asked: bool
    cancellation: Cancellation = field(default_factory=Cancellation, compare=False)


@dataclass(frozen=True, slots=True)
class Told:
    """What a call comes to: the text for the agent, and whether it is a failure."""

    text: str
    failed: bool = False


def direct_call(message: Mapping[str, Any], parameters: Mapping[str, Any]) -> DirectCall | None:
    """Read a decoded `tools/call`; None where anything about it is out of the ordinary."""
    if message.keys() != _MESSAGE or message["jsonrpc"] != "2.0" or not parameters.keys() <= _PARAMETERS:
        return None
    request_id, name = message["id"], parameters.get("name")
    arguments, meta = parameters.get("arguments", {}), parameters.get("_meta", {})
    if type(request_id) not in {str, int} or not isinstance(name, str):
        return None
    if not isinstance(arguments, dict) or not isinstance(meta, dict) or not meta.keys().isdisjoint(_NOT_ORDINARY):
        return None
    version = meta.get(PROTOCOL_VERSION_META_KEY, "")
    capabilities, info = meta.get(CLIENT_CAPABILITIES_META_KEY, {}), meta.get(CLIENT_INFO_META_KEY)
    if not isinstance(version, str) or not _are_sections(capabilities) or not _names_a_client(info):
        return None
    return DirectCall(request_id, name, arguments, meta, version, "elicitation" in capabilities)


def _are_sections(capabilities: object) -> bool:
    return isinstance(capabilities, dict) and all(isinstance(section, dict) for section in capabilities.values())


def _names_a_client(info: object) -> bool:
    if info is None:
        return True
    return isinstance(info, dict) and isinstance(info.get("name"), str) and isinstance(info.get("version"), str)


def response(call: DirectCall, told: Told, server_info: Mapping[str, Any]) -> bytes:
    """Write the JSON-RPC response (2026-07-28: with the result's type and who answers)."""
    text = told.text
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": told.failed}
    if call.version:
        result |= {"resultType": "complete", "_meta": {SERVER_INFO_META_KEY: server_info}}
    return orjson.dumps({"jsonrpc": "2.0", "id": call.request_id, "result": result})

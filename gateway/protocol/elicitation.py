"""Boundary between a tool's question and MCP elicitation, in both protocol generations.

Handshake-era clients are asked over the response stream of the call; from 2026-07-28 on the question is the call's
answer, and the client calls again with the person's word. Either way the tool then runs again from the top.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.access.questions import Answers, Question

LAPSES_AFTER: Final = 300.0
"""Seconds a person has to answer, but in tests."""
_FIELD: Final = "answer"

Context = ServerRequestContext[Any, Any]


def answers_so_far(context: Context, responses: types.InputResponses | None, state: str | None) -> Answers:
    """Return what the person said in earlier rounds of this call, and whether anybody can be asked."""
    given = _remembered(state)
    for key, response in (responses or {}).items():
        if isinstance(response, types.ElicitResult):
            given[key] = _word(response)
    return Answers(given, _can_ask(context))


def _can_ask(context: Context) -> bool:
    capabilities = context.session.client_capabilities
    if capabilities is None or capabilities.elicitation is None:
        return False
    return is_modern(context) or context.session.can_send_request


def is_modern(context: Context) -> bool:
    """Whether the request belongs to the stateless protocol generation."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def _remembered(state: str | None) -> dict[str, str | None]:
    # The SDK's boundary has opened the seal: this is what `input_required` wrote.
    return dict(json.loads(state)["given"]) if state else {}


class Rounds:
    """Which questions were come back to. A call that comes back with an answer is the same call, but only once."""

    def __init__(self, *, entries: int = 10_000) -> None:
        """Start with none; the oldest is forgotten when there are more than `entries`."""
        self._entries = entries
        self._seen: OrderedDict[str, None] = OrderedDict()

    def continues(self, state: str | None) -> bool:
        """Whether this goes on with a call that was counted; a state that is played again does not."""
        number = json.loads(state)["round"] if state else None
        if number is None or number in self._seen:
            return False
        self._seen[number] = None
        if len(self._seen) > self._entries:
            self._seen.popitem(last=False)
        return True


def input_required(question: Question, answers: Answers) -> types.InputRequiredResult:
    """Return the 2026-07-28 result that puts the question; earlier answers travel in the sealed state."""
    return types.InputRequiredResult(
        input_requests={question.key: types.ElicitRequest(params=_form(question))},
        request_state=json.dumps({"round": token_urlsafe(12), "given": dict(answers.given)}),
    )


async def ask_now(context: Context, question: Question, seconds: float) -> str | None:
    """Put the question over the call's stream and wait that long; None if declined, unanswered, or nobody is there."""
    form = _form(question)
    try:
        async with asyncio.timeout(seconds):
            result = await context.session.elicit_form(
                form.message, form.requested_schema, related_request_id=context.request_id
            )
    except (TimeoutError, MCPError, NoBackChannelError):
        return None
    return _word(result)


def _form(question: Question) -> types.ElicitRequestFormParams:
    answer: dict[str, Any] = {"type": "string", "title": "Answer"}
    if question.choices:
        answer["enum"] = list(question.choices)
    schema = {"type": "object", "properties": {_FIELD: answer}, "required": [_FIELD]}
    return types.ElicitRequestFormParams(message=question.message, requested_schema=schema)


def _word(result: types.ElicitResult) -> str | None:
    content: Mapping[str, Any] = result.content or {}
    word = content.get(_FIELD)
    return word if result.action == "accept" and isinstance(word, str) else None

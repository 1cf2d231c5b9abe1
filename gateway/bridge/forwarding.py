"""Boundary between one request of the client and the same one at the gateway, across the two protocol generations.

Upwards every request is of the stateless generation. There a question to the person is an answer, after which the call
is made again; a client of that generation gets it as it is, an older one is asked over its own connection.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.bridge.upstream import VERSION, Upstream

ANSWER_SECONDS: Final = 280.0
"""Seconds a person has for an answer: a little less than the gateway keeps the question."""
_MOST_QUESTIONS: Final = 8
_NO_ANSWER: Final = {"action": "cancel"}

Context = ServerRequestContext[Any, Any]
Json = dict[str, Any]


def is_modern(context: Context) -> bool:
    """Whether the client is of the stateless generation."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def parameters(context: Context) -> Json:
    """Return the request's parameters as the client wrote them."""
    return dict(context.params or {})


async def forward(context: Context, upstream: Upstream, params: Mapping[str, Any]) -> Json:
    """Make the client's request with these parameters at the gateway, and put its questions to the person.

    Raises:
        MCPError: The gateway refused or failed, or could not be reached.
    """
    meta = _meta(context)
    wants_progress = "progressToken" in _given_meta(context)

    async def sent(more: Mapping[str, Any]) -> Json:
        return await upstream.request(
            context.method,
            {**params, **more, "_meta": meta},
            context.session.report_progress if wants_progress else None,
        )

    result = await sent({})
    for _ in range(_MOST_QUESTIONS):
        if is_modern(context) or result.get("resultType") != "input_required":
            return result
        questions: Mapping[str, Json] = result.get("inputRequests") or {}
        answers = {key: await _asked(context, question) for key, question in questions.items()}
        result = await sent({"inputResponses": answers, "requestState": result.get("requestState")})
    raise MCPError(code=types.INTERNAL_ERROR, message="The gateway asked too many questions.")


async def _asked(context: Context, question: Json) -> Json:
    """Put one question over the client's own connection; no answer in time, or nobody to ask, is none."""
    try:
        form = types.ElicitRequestFormParams.model_validate(question["params"])
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await context.session.elicit_form(
                form.message, form.requested_schema, related_request_id=context.request_id
            )
    except (TimeoutError, MCPError, NoBackChannelError):
        return _NO_ANSWER
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


def _meta(context: Context) -> Json:
    """Return `_meta` for the gateway: the client's own, with what an older one said of itself when it connected."""
    meta = {key: value for key, value in _given_meta(context).items() if key != "progressToken"}
    client = context.session.client_params
    if not is_modern(context) and client is not None:
        asked = client.capabilities.elicitation
        # Only what a question can be answered with; there is nothing else that the gateway could ask.
        able = {} if asked is None else {"elicitation": asked.model_dump(by_alias=True, exclude_none=True)}
        info = client.client_info.model_dump(by_alias=True, mode="json", exclude_none=True)
        meta |= {types.CLIENT_INFO_META_KEY: info, types.CLIENT_CAPABILITIES_META_KEY: able}
    return {**meta, types.PROTOCOL_VERSION_META_KEY: VERSION}


def _given_meta(context: Context) -> Mapping[str, Any]:
    return (context.params or {}).get("_meta") or {}

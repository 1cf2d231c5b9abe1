"""Boundary between MCP's resources and completions and the functions behind them; failures become JSON-RPC errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import mcp_types as types
import structlog
from mcp.shared.exceptions import MCPError

from gateway.access.continuation import Continuation
from gateway.access.questions import Answers
from gateway.access.session import Access, Caller, ClusterSession
from gateway.errors import ClusterUnavailable, GatewayError
from gateway.protocol import outgoing
from gateway.protocol.calls import caller_of
from gateway.protocol.elicitation import Context
from gateway.telemetry.metrics import Metrics
from gateway.tools.completing import Completed, complete_argument, complete_uri
from gateway.tools.explain import explain
from gateway.tools.resources import MIME_TYPE, TEMPLATES, Target, page, read, uri_of

NOBODY: Final = Answers({}, can_ask=False)
"""Nobody is asked anything about a resource: URIs are exact."""
_COMPLETION_SECONDS: Final = 5.0
"""Seconds for a completion: a person is typing."""
_ELSEWHERE: Final = frozenset({"unavailable", "unauthenticated", "server_error", "throttled", "rate_limited", "error"})
"""Outcomes that no other request mends."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Resources:
    """Serves resources to callers; lists them where the operator switched that on."""

    def __init__(self, access: Access, continuation: Continuation, *, listed: bool) -> None:
        """Serve them through this access; cursors are bound under this key."""
        self._access = access
        self._continuation = continuation
        self._listed = listed

    async def templates(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """List the two templates, which every object's URI is of."""
        return types.ListResourceTemplatesResult(
            resource_templates=[_template(name, title, uri) for name, title, uri in TEMPLATES]
        )

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """List one page of the cluster's objects, or nothing where that is off.

        Raises:
            MCPError: The cursor is of another listing, or the cluster can't be asked.
        """
        if not self._listed:
            return types.ListResourcesResult(resources=[])
        principal = caller_of(context).principal
        binding = ("resources/list", principal.cluster_url, principal.issuer, principal.subject)
        sealed = params.cursor if params is not None else None

        async def work(session: ClusterSession) -> types.ListResourcesResult:
            found = await page(session, self._continuation.open(sealed, *binding) if sealed else "")
            cursor = self._continuation.seal(found.cursor, *binding)
            return types.ListResourcesResult(resources=[_resource(t) for t in found.items], next_cursor=cursor or None)

        return await self._run(context, "resources/list", work)

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Read one object.

        Raises:
            MCPError: There is none, it may not be read, or the cluster can't be asked.
        """
        text = await self._run(context, "resources/read", lambda session: read(session, params.uri), uri=params.uri)
        text = outgoing.answer(self._access.metrics, caller_of(context).cluster, text)
        contents = types.TextResourceContents(uri=params.uri, mime_type=MIME_TYPE, text=text)
        return types.ReadResourceResult(contents=[contents])

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Complete a variable of a template or an argument of a prompt; what can't be looked up, to nothing.

        Raises:
            MCPError: The caller calls too often.
        """
        given = (params.context.arguments if params.context is not None else None) or {}
        name, typed = params.argument.name, params.argument.value

        async def work(session: ClusterSession) -> Completed:
            try:
                async with asyncio.timeout(_COMPLETION_SECONDS):
                    if isinstance(params.ref, types.PromptReference):
                        return await complete_argument(session, name, typed, given)
                    return await complete_uri(session, params.ref.uri, name, typed, given)
            except (TimeoutError, ClusterUnavailable):
                return Completed()

        found = await self._run(context, "completion/complete", work)
        return types.CompleteResult(
            completion=types.Completion(values=[*found.values], total=found.total, has_more=found.more)
        )

    async def _run(
        self, context: Context, what: str, work: Callable[[ClusterSession], Awaitable[T]], *, uri: str = ""
    ) -> T:
        caller = caller_of(context)
        started = time.perf_counter()
        outcome = "ok"
        try:
            await self._access.admit(caller, "reads")
            async with (
                asyncio.timeout(caller.cluster.limits.call_seconds),
                self._access.session(caller, what, NOBODY) as session,
            ):
                return await work(session)
        except GatewayError as error:
            outcome = error.outcome
            raise refusal(self._access.metrics, caller, error, uri) from error
        except TimeoutError as error:
            outcome = "timeout"
            raise MCPError(code=types.INTERNAL_ERROR, message="Not finished in time. Try again.") from error
        except Exception as error:
            outcome = "internal"
            raise internal(caller, what) from error
        finally:
            self._access.ended(caller, what, outcome, started)


def refusal(metrics: Metrics, caller: Caller, error: GatewayError, uri: str = "") -> MCPError:
    """Return the JSON-RPC error: -32602 for what another request mends, -32603 for what time or a person does."""
    code = types.INTERNAL_ERROR if error.outcome in _ELSEWHERE else types.INVALID_PARAMS
    data: dict[str, Any] | None = {"uri": uri[:2048]} if uri else None
    return MCPError(code=code, message=outgoing.words(metrics, caller.cluster, explain(error)), data=data)


def internal(caller: Caller, what: str) -> MCPError:
    """Log what must not happen, and return words without its text."""
    _log.exception("resource_failed", what=what, request_id=caller.request_id)
    text = f"The gateway failed on this call. Tell a person the request id {caller.request_id}."
    return MCPError(code=types.INTERNAL_ERROR, message=text)


def _template(name: str, title: str, uri: str) -> types.ResourceTemplate:
    return types.ResourceTemplate(
        name=name, title=title, uri_template=uri, mime_type=MIME_TYPE, description="As resource_get reads it."
    )


def _resource(target: Target) -> types.Resource:
    within = f"{target.namespace}/" if target.namespace else ""
    return types.Resource(
        name=f"{target.kind.qualified} {within}{target.name}", uri=uri_of(target), mime_type=MIME_TYPE
    )

"""Boundary to the client: an MCP server of both generations, whose every answer is a gateway's.

With one cluster it shows what that cluster's server shows. With several, what is listed is listed once, and `cluster`
says where a call goes; nothing is ever sent to another cluster than the one it names.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final

import mcp_types as types
import structlog
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError

from gateway import __version__
from gateway.bridge import several
from gateway.bridge.forwarding import Context, Json, forward, parameters
from gateway.bridge.http import NO_TOKEN
from gateway.bridge.subscriptions import Subscriptions
from gateway.bridge.tasks import Tasks
from gateway.bridge.upstream import NAME, Upstream

GREETING_SECONDS: Final = 5.0
"""Seconds that a client waits, at its first contact, for what the clusters say of themselves."""
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts to list the tools of a cluster that could not be asked; the last one repeats."""
_MOST_COMPLETIONS: Final = 100
"""Values of one completion (specification, "Completion Results")."""
_GREETINGS: Final = frozenset({"initialize", "server/discover"})
_FOR_THE_CLIENT: Final = frozenset({types.INVALID_PARAMS, types.METHOD_NOT_FOUND})
"""Errors that are about the request itself; all others are told to the agent."""
_log = structlog.get_logger(__name__)


class Bridge:
    """Serves one client."""

    def __init__(self, upstreams: Sequence[Upstream], tasks: Tasks) -> None:
        """Serve these clusters, in this order; what goes on beside a request is one of these tasks."""
        self._upstreams = {upstream.cluster: upstream for upstream in upstreams}
        self._only = upstreams[0] if len(upstreams) == 1 else None
        self._tasks = tasks
        self._said: dict[str, str] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._subscriptions = Subscriptions(self._place, tasks)

    def server(self) -> tuple[Server[Any], InitializationOptions]:
        """Return the server, and what it says when a client connects."""
        server: Server[Any] = Server(NAME, version=__version__, title="Kubernetes")
        handlers: tuple[tuple[str, type[Any], Callable[[Context, Any], Awaitable[Any]]], ...] = (
            ("tools/list", types.PaginatedRequestParams, self._list_tools),
            ("tools/call", types.CallToolRequestParams, self._call_tool),
            ("prompts/list", types.PaginatedRequestParams, self._list_prompts),
            ("prompts/get", types.GetPromptRequestParams, self._get_prompt),
            ("resources/list", types.PaginatedRequestParams, self._list_resources),
            ("resources/templates/list", types.PaginatedRequestParams, self._list_templates),
            ("resources/read", types.ReadResourceRequestParams, self._read_resource),
            ("resources/subscribe", types.SubscribeRequestParams, self._subscriptions.subscribe),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, self._subscriptions.unsubscribe),
            ("subscriptions/listen", types.SubscriptionsListenRequestParams, self._subscriptions.listen),
            ("completion/complete", types.CompleteRequestParams, self._complete),
        )
        for method, model, handler in handlers:
            server.add_request_handler(method, model, handler)
        server.middleware[:] = [self._greeting]
        return server, server.create_initialization_options(NotificationOptions(tools_changed=True))

    async def _greeting(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Add what the clusters say of themselves, and leave out that lists other than the tools' would change."""
        result = await call_next(ctx)
        if ctx.method not in _GREETINGS or not isinstance(result, dict):
            return result
        announced = {
            name: {**what, "listChanged": False} if name != "tools" and "listChanged" in what else what
            for name, what in result["capabilities"].items()
        }
        return {**result, "capabilities": announced, "instructions": await self._instructions()}

    async def _instructions(self) -> str:
        async def ask(upstream: Upstream) -> None:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    answer = await upstream.request("server/discover", {})
                self._said[upstream.cluster] = str(answer.get("instructions") or "")
            except (MCPError, TimeoutError) as error:
                _log.warning("not_reached", cluster=upstream.cluster, error=str(error) or "no answer yet")

        unknown = [upstream for name, upstream in self._upstreams.items() if name not in self._said]
        await asyncio.gather(*(ask(upstream) for upstream in unknown))
        if self._only is not None:
            return self._said.get(self._only.cluster, "")
        return several.instructions({name: self._said.get(name) for name in self._upstreams})

    async def _list_tools(self, context: Context, _: types.PaginatedRequestParams) -> types.ListToolsResult:
        listed = await self._asked("tools", "tools/list")
        missing = _away(listed)
        if missing and self._waiting is None:
            self._waiting = self._tasks.start(self._until_listed(context, missing), "bridge-tools")
        union = _union(listed, "name")
        tools = [tool if self._only else several.tool_of(tool, clusters) for tool, clusters in union]
        return types.ListToolsResult.model_validate({"tools": tools})

    async def _until_listed(self, context: Context, missing: set[str]) -> None:
        """Wait until these clusters have listed their tools, and tell the client each time that one more has."""
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while missing:
            await asyncio.sleep(next(pauses))
            listed = await self._asked("tools", "tools/list", missing)
            if not all(isinstance(answer, MCPError) for answer in listed.values()):
                await self._subscriptions.tell_tools_changed(context)
            missing = _away(listed)
        self._waiting = None

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> Json | types.CallToolResult:
        upstream, given, cluster = self._only, parameters(context), ""
        if upstream is None:
            cluster, given["arguments"] = several.without_cluster(params.arguments)
            upstream = self._upstreams.get(cluster)
            if upstream is None:
                return _failed(f"{self._which(cluster)} {params.name} was not called.")
        try:
            return await forward(context, upstream, given)
        except MCPError as error:
            if error.code not in _FOR_THE_CLIENT:
                return _failed(error.message)
            if self._only is not None:
                raise
            # Which tools there are depends on the cluster here, so it is for the agent.
            return _failed(f"Cluster {cluster}: {error.message}")

    async def _list_prompts(self, _context: Context, _: types.PaginatedRequestParams) -> types.ListPromptsResult:
        union = _union(await self._asked("prompts", "prompts/list"), "name")
        prompts = [prompt if self._only else several.prompt_of(prompt, clusters) for prompt, clusters in union]
        return types.ListPromptsResult.model_validate({"prompts": prompts})

    async def _get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> Json:
        if self._only is not None:
            return await forward(context, self._only, parameters(context))
        cluster, arguments = several.without_cluster(params.arguments)
        upstream = self._known(cluster)
        result = await forward(context, upstream, {**parameters(context), "arguments": arguments})
        return several.about(cluster, result)

    async def _list_resources(self, context: Context, params: types.PaginatedRequestParams) -> Json:
        if self._only is not None:
            return await forward(context, self._only, parameters(context))
        position, cursor = several.position_of(params.cursor)
        clusters = [*self._upstreams.values()]
        if position >= len(clusters):
            raise MCPError(code=types.INVALID_PARAMS, message="This cursor is of no listing here.")
        page = await forward(context, clusters[position], {"cursor": cursor} if cursor else {})
        name = clusters[position].cluster
        page["resources"] = [{**one, "uri": several.outer_uri(name, one["uri"])} for one in page["resources"]]
        following, inner = (position, page["nextCursor"]) if page.get("nextCursor") else (position + 1, "")
        page["nextCursor"] = several.cursor_of(following, inner) if following < len(clusters) else None
        return page

    async def _list_templates(
        self, _context: Context, _: types.PaginatedRequestParams
    ) -> types.ListResourceTemplatesResult:
        union = _union(await self._asked("resourceTemplates", "resources/templates/list"), "uriTemplate")
        templates = [template if self._only else several.template_of(template) for template, _ in union]
        return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": templates})

    async def _read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Json:
        upstream, uri = self._place(params.uri)
        try:
            result = await forward(context, upstream, {**parameters(context), "uri": uri})
        except MCPError as error:
            data = {**error.data, "uri": params.uri} if isinstance(error.data, dict) else error.data
            raise MCPError(code=error.code, message=error.message, data=data) from error
        return {**result, "contents": [{**content, "uri": params.uri} for content in result["contents"]]}

    async def _complete(self, context: Context, params: types.CompleteRequestParams) -> Json | types.CompleteResult:
        asked = parameters(context)
        if self._only is not None:
            return await forward(context, self._only, asked)
        if params.argument.name == several.ARGUMENT:
            return _completed([name for name in self._upstreams if name.startswith(params.argument.value)])
        cluster, given = several.without_cluster(params.context.arguments if params.context else None)
        upstream = self._upstreams.get(cluster)
        if upstream is None:
            return _completed([])
        reference = asked["ref"]
        if "uri" in reference:
            reference = {**reference, "uri": several.inner_template(reference["uri"])}
        return await forward(context, upstream, {**asked, "ref": reference, "context": {"arguments": given}})

    async def _asked(self, what: str, method: str, names: Collection[str] = ()) -> Mapping[str, several.Answer]:
        """Return the whole list of each of these clusters, by default of all, or why it could not be had."""
        asked = names or self._upstreams
        answers = await asyncio.gather(*(_whole(self._upstreams[name], what, method) for name in asked))
        return dict(zip(asked, answers, strict=True))

    def _place(self, uri: str) -> tuple[Upstream, str]:
        """Return the cluster of a URI and the URI there; raises MCPError where it names none."""
        if self._only is not None:
            return self._only, uri
        cluster, inner = several.inner_uri(uri)
        return self._known(cluster), inner

    def _known(self, cluster: str) -> Upstream:
        upstream = self._upstreams.get(cluster)
        if upstream is None:
            raise MCPError(code=types.INVALID_PARAMS, message=self._which(cluster))
        return upstream

    def _which(self, cluster: str) -> str:
        named = f"There is no cluster {cluster!r}." if cluster else f"`{several.ARGUMENT}` is missing."
        return f"{named} It is one of: {', '.join(self._upstreams)}."


async def _whole(upstream: Upstream, what: str, method: str) -> several.Answer:
    entries: list[Json] = []
    cursor: Json = {}
    try:
        while True:
            page = await upstream.request(method, cursor)
            entries += page[what]
            if not page.get("nextCursor"):
                return entries
            cursor = {"cursor": page["nextCursor"]}
    except MCPError as error:
        return error


def _away(listed: Mapping[str, several.Answer]) -> set[str]:
    """Return the clusters that may answer later; one without a token may not: a person has to sign in for that."""
    return {name for name, answer in listed.items() if isinstance(answer, MCPError) and answer.data != NO_TOKEN}


def _union(listed: Mapping[str, several.Answer], key: str) -> list[tuple[Json, tuple[str, ...]]]:
    for name, answer in listed.items():
        if isinstance(answer, MCPError):
            _log.warning("not_listed", cluster=name, error=answer.message)
    return several.Listed.of(listed).union(key)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _completed(values: Sequence[str]) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[*values][:_MOST_COMPLETIONS], total=len(values)))

"""Boundary between a `tools/call` and a tool: arguments checked, run under a deadline, every failure put into words."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

import mcp_types as types
import structlog
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from gateway.access.questions import AnswerNeeded, Answers
from gateway.access.session import Access, Caller
from gateway.errors import BadArgument, GatewayError
from gateway.protocol import outgoing
from gateway.protocol.direct import DirectCall, Told
from gateway.protocol.elicitation import Context, Rounds, answers_so_far, ask_now, input_required, is_modern
from gateway.tools.explain import explain
from gateway.tools.tool import Arguments, Tool

_MOST_QUESTIONS: Final = 4
_MOST_PROBLEMS: Final = 50
_log = structlog.get_logger(__name__)

T = TypeVar("T")

CALLER: Final = "gateway.caller"
"""The key of the request's scope under which whoever authenticated it leaves the `Caller`."""

ENDED: Final = "gateway.ended"
"""The key under which stands what can be awaited: until the answer was given, or nobody waits for it any more."""

ASKED: Final = "gateway.asked"
"""The key under which stands the question that a first run, counted and admitted, came to before MCP saw the call."""


def caller_of(context: Context) -> Caller:
    """Return who calls, as the edge found out before MCP saw the request."""
    caller = context.request.scope[CALLER] if context.request is not None else None
    if not isinstance(caller, Caller):
        message = "a request reached MCP without an authenticated caller"
        raise TypeError(message)
    return caller


def _asked_before(context: Context) -> AnswerNeeded | None:
    asked = context.request.scope.get(ASKED) if context.request is not None else None
    return asked if isinstance(asked, AnswerNeeded) else None


class _CallerGoneError(GatewayError):
    outcome = "cancelled"

    def __init__(self) -> None:
        super().__init__("The caller has gone.")


async def unless_left(context: Context, running: Awaitable[T]) -> T:
    """Return what comes of it, but end it when its caller goes away: the SDK does that in some of its modes only.

    Raises:
        GatewayError: The caller has gone; nobody reads the text.
    """
    ended: Callable[[], Awaitable[None]] | None = context.request.scope.get(ENDED) if context.request else None
    if ended is None:
        return await running
    work, leaving = asyncio.ensure_future(running), asyncio.ensure_future(ended())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise _CallerGoneError
    finally:
        work.cancel()
        leaving.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)


class _TakenBackError(GatewayError):
    outcome = "cancelled"

    def __init__(self) -> None:
        super().__init__("The client has cancelled this call.")


class Calls:
    """Runs tools for callers."""

    def __init__(self, access: Access, tools: Iterable[Tool[Any]], *, lapses_after: float) -> None:
        """Serve these tools through this access; a question to the person lapses after so many seconds."""
        self._access = access
        self._lapses_after = lapses_after
        self._rounds = Rounds()
        self.tools = {tool.name: tool for tool in tools}

    def offered(self, caller: Caller) -> list[Tool[Any]]:
        """Return the tools that the policy of the caller's cluster permits, in order."""
        return [tool for tool in self.tools.values() if tool.is_offered(caller.cluster.policy)]

    def _tool(self, caller: Caller, name: str) -> Tool[Any] | None:
        tool = self.tools.get(name)
        return tool if tool is not None and tool.is_offered(caller.cluster.policy) else None

    async def call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run one tool; whatever goes wrong inside becomes a tool error that says what to do next.

        Raises:
            MCPError: No tool has this name.
        """
        caller = caller_of(context)
        tool = self._tool(caller, params.name)
        if tool is None:
            names = ", ".join(tool.name for tool in self.offered(caller))
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool. This cluster has: {names}.")
        if caller.trace is not None:
            caller.trace.continue_from(params.meta or {})
        answers = answers_so_far(context, params.input_responses, params.request_state)
        started = time.perf_counter()
        try:
            told = await self._told(caller, tool, self._asking(context, tool, params, answers))
        except AnswerNeeded as needed:
            self._access.ended(caller, tool.name, "asked", started)
            return input_required(needed.question, answers)
        return types.CallToolResult(content=[types.TextContent(text=told.text)], is_error=told.failed)

    async def direct(self, caller: Caller, call: DirectCall) -> Told | AnswerNeeded | None:
        """Run one tool for an ordinary call.

        What it comes to is its answer, or a question, which is put by `call` under the key `ASKED`. None: nothing was
        run, because the tool is not offered or may run longer than a call.
        """
        tool = self._tool(caller, call.name)
        if tool is None or tool.seconds is not None:
            return None
        if caller.trace is not None:
            caller.trace.continue_from(call.meta)
        try:
            return await self._told(caller, tool, self._once(caller, tool, call))
        except AnswerNeeded as needed:
            return needed

    async def _told(self, caller: Caller, tool: Tool[Any], running: Awaitable[str]) -> Told:
        """Await a run, put whatever goes wrong into words, and count it, unless it comes to a question."""
        started = time.perf_counter()
        outcome: str | None = "cancelled"
        try:
            text = await running
            outcome = "ok"
            return Told(outgoing.answer(self._access.metrics, caller.cluster, text))
        except AnswerNeeded:
            outcome = None
            raise
        except GatewayError as error:
            outcome = error.outcome
            return Told(outgoing.words(self._access.metrics, caller.cluster, explain(error)), failed=True)
        except Exception:  # noqa: BLE001  # an exception that left here would show its text to the client
            outcome = "internal"
            _log.exception("tool_failed", tool=tool.name, request_id=caller.request_id)
            text = f"The gateway failed on this call. Tell a person the request id {caller.request_id}."
            return Told(text, failed=True)
        finally:
            if outcome is not None:
                self._access.ended(caller, tool.name, outcome, started)

    async def _once(self, caller: Caller, tool: Tool[Any], call: DirectCall) -> str:
        await self._access.admit(caller, tool.rate)
        arguments = _checked(tool, call.arguments)
        seconds = caller.cluster.limits.call_seconds
        answers = Answers({}, call.can_be_asked)
        deadline = call.cancellation.over(asyncio.timeout(seconds))
        try:
            async with deadline, self._access.session(caller, tool.name, answers) as session:
                text: str = await tool.run(session, arguments)
                return text
        except TimeoutError as error:
            if call.cancellation.is_called:
                raise _TakenBackError from error
            if not deadline.expired():
                raise
            raise _not_finished(tool, seconds) from error

    async def _asking(
        self, context: Context, tool: Tool[Any], params: types.CallToolRequestParams, answers: Answers
    ) -> str:
        """Run a tool, and again with each answer where the person can be asked while the call waits."""
        asked = _asked_before(context)
        if asked is None and not self._rounds.continues(params.request_state):
            await self._access.admit(caller_of(context), tool.rate)
        arguments = _checked(tool, params.arguments)
        for _ in range(_MOST_QUESTIONS):
            try:
                if asked is not None:
                    raise asked
                return await self._run(context, tool, arguments, answers)
            except AnswerNeeded as needed:
                caller = caller_of(context)
                message = outgoing.words(self._access.metrics, caller.cluster, needed.question.message)
                question = replace(needed.question, message=message)
                if is_modern(context):
                    raise AnswerNeeded(question) from needed
                asked = None
                asking = time.perf_counter()
                try:
                    word = await ask_now(context, question, self._lapses_after)
                finally:
                    caller.spent.asking += time.perf_counter() - asking
                answers = Answers({**answers.given, question.key: word}, answers.can_ask)
        raise BadArgument("Too many questions came up. Call again with resource, name and namespace spelled out.")

    async def _run(self, context: Context, tool: Tool[Any], arguments: Arguments, answers: Answers) -> str:
        caller = caller_of(context)
        seconds = tool.seconds(arguments) if tool.seconds else caller.cluster.limits.call_seconds

        async def report(done: float, total: float | None, message: str) -> None:
            said = outgoing.words(self._access.metrics, caller.cluster, message)
            await context.session.report_progress(done, total, said)

        deadline = asyncio.timeout(seconds)
        try:
            async with deadline, self._access.session(caller, tool.name, answers, report, seconds=seconds) as session:
                running: Awaitable[str] = tool.run(session, arguments)
                return await (unless_left(context, running) if tool.seconds else running)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise _not_finished(tool, seconds) from error


def _not_finished(tool: Tool[Any], seconds: float) -> GatewayError:
    if not tool.read_only:
        return GatewayError(
            f"Not finished within {seconds:g} s. What it was doing may have been done. Look before you do it again."
        )
    return GatewayError(f"Not finished within {seconds:g} s. Narrow it (namespace, selector, limit) and call again.")


def _checked(tool: Tool[Any], given: dict[str, Any] | None) -> Arguments:
    try:
        arguments: Arguments = tool.arguments.model_validate(given or {})
    except ValidationError as error:
        problems = f"{error.error_count()} mistakes"
        if error.error_count() <= _MOST_PROBLEMS:
            # Spelling them out takes long where somebody sent hundreds of thousands.
            problems = "; ".join(
                _problem(detail) for detail in error.errors(include_url=False, include_input=False)[:5]
            )
        names = ", ".join(field.alias or name for name, field in tool.arguments.model_fields.items())
        message = f"Bad arguments: {problems}. {tool.name} takes: {names}."
        raise BadArgument(message) from error
    return arguments


def _problem(detail: Any) -> str:  # pydantic's ErrorDetails
    where = ".".join(str(part) for part in detail["loc"])[:60] or "arguments"
    if detail["type"] == "extra_forbidden":
        return f"{where} is unknown"
    if detail["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {detail['msg']}"

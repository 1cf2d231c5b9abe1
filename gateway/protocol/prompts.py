"""Boundary between MCP's prompts and the gateway's: those whose tools the caller's cluster offers."""

import mcp_types as types
from mcp.shared.exceptions import MCPError

from gateway.errors import BadArgument
from gateway.protocol.calls import Calls, caller_of
from gateway.protocol.elicitation import Context
from gateway.tools.prompts import PROMPTS, Prompt


class Prompts:
    """Lists prompts and fills them in. They ask no cluster anything."""

    def __init__(self, calls: Calls) -> None:
        """Offer the prompts that these tools make possible."""
        self._calls = calls

    async def list(self, context: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """List the prompts of the caller's cluster."""
        tools = self._tools(context)
        return types.ListPromptsResult(prompts=[_described(p) for p in PROMPTS if p.is_offered(tools)])

    async def get(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """Fill in one prompt.

        Raises:
            MCPError: There is none of this name here, or an argument is missing, unknown or too long.
        """
        tools = self._tools(context)
        offered = {prompt.name: prompt for prompt in PROMPTS if prompt.is_offered(tools)}
        prompt = offered.get(params.name)
        if prompt is None:
            unknown = f"Unknown prompt. This cluster has: {', '.join(offered)}."
            raise MCPError(code=types.INVALID_PARAMS, message=unknown)
        try:
            text = prompt.render(params.arguments, tools)
        except BadArgument as error:
            raise MCPError(code=types.INVALID_PARAMS, message=error.message) from error
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])

    def _tools(self, context: Context) -> frozenset[str]:
        return frozenset(tool.name for tool in self._calls.offered(caller_of(context)))


def _described(prompt: Prompt) -> types.Prompt:
    arguments = [
        types.PromptArgument(name=p.name, description=p.description, required=p.required) for p in prompt.parameters
    ]
    return types.Prompt(name=prompt.name, title=prompt.title, description=prompt.description, arguments=arguments)

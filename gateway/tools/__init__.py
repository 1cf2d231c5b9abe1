"""Boundary of what agents can do: one file a tool, and the one list of them."""

from typing import Any

from gateway.access.confirmation import Confirmation
from gateway.access.continuation import Continuation
from gateway.tools import (
    diagnose,
    resource_apply,
    resource_delete,
    resource_get,
    resource_list,
    resource_post,
    resource_types,
    resource_wait,
)
from gateway.tools.tool import Tool


def all_tools(continuation: Continuation, confirmation: Confirmation) -> tuple[Tool[Any], ...]:
    """Return every tool, in the order in which they are offered."""
    return (
        resource_types.TOOL,
        resource_list.tool(continuation),
        resource_get.TOOL,
        resource_wait.TOOL,
        diagnose.TOOL,
        resource_apply.tool(confirmation),
        resource_post.tool(confirmation),
        resource_delete.tool(confirmation),
    )

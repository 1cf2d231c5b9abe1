"""Boundary between what failed and what an agent should do next (promise 11)."""

from gateway.errors import GatewayError
from gateway.kube.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    InvalidToken,
    NotFound,
    ServerFault,
    Throttled,
    TooLarge,
)


def explain(error: GatewayError) -> str:
    """Return the text for the agent: Kubernetes' own words where it said something, then the next step."""
    # Whatever an API server or a webhook says is one line here: more could pass for more answers.
    said = " ".join(error.message.split()).rstrip(". ")
    match error:
        case InvalidToken():
            return "The cluster no longer accepts the token. Ask the person to renew it, then call again."
        case Forbidden() if " cannot " in said:
            who = said.partition(" is forbidden: ")[2] or said
            return (
                f"Forbidden by the cluster's RBAC: {who}. Use a namespace or kind the token may read, "
                "or ask a person to grant it."
            )
        case Forbidden():
            return f"The cluster forbids it: {said}. Change the request accordingly, or ask a person."
        case NotFound():
            return f"{said}. Check name and namespace with resource_list, or the kind with resource_types."
        case Expired():
            return "Too old: the list has changed since. List again without `continue`."
        case Conflict():
            return f"Conflict: {said}. Read the object again and decide on what it is now."
        case Throttled(retry_after=seconds):
            return f"The API server is busy ({said}). Try again in {seconds} s, with a narrower request if possible."
        case Invalid():
            return f"The API server rejects the request: {said}. Correct it and call again."
        case ServerFault(status=status):
            return f"The API server failed with status {status}: {said}. Try again once; tell a person if it lasts."
        case TooLarge():
            return f"{said}. Narrow it: a namespace, a labelSelector, a smaller limit, or output=table or name."
        case ApiError():
            return f"{said}. Tell a person: this cluster's address in the gateway's settings looks wrong."
        case _:
            return error.message

"""Boundary between people and contexts as they are called and the names that Kubernetes and the settings allow."""

import getpass
import re
from typing import Final

from gateway.errors import BadArgument

NAMESPACE: Final = "kube-mcp-gateway"
"""Where the service accounts of people's agents are, on every cluster."""


def label(text: str, end: str = "") -> str:
    """Return a text as a DNS label (RFC 1123) that ends so; `cluster` where nothing of it is left."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "cluster"
    return plain[: 63 - len(end)].strip("-") + end


def account_of(person: str | None) -> str:
    """Return the service account of a person's agents, `namespace/name`; by default of who runs this.

    Raises:
        BadArgument: The name has no letter or digit that a service account's may have.
    """
    called = (person or getpass.getuser()).partition("@")[0]
    if not re.search("[a-z0-9]", called.lower()):
        raise BadArgument(
            f"{called!r} makes no name for a service account; give one: --service-account NAMESPACE/NAME."
        )
    return f"{NAMESPACE}/{label(f'agent-{called}')}"


def account(given: str | None, person: str | None = None) -> str:
    """Return the service account that was given, checked to be `namespace/name`, or else the person's.

    Raises:
        BadArgument: It is not `namespace/name`.
    """
    if given is None:
        return account_of(person)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", given):
        raise BadArgument(
            f"A service account is given as NAMESPACE/NAME, such as {NAMESPACE}/agent-ada; found {given!r}."
        )
    return given

"""Boundary to TokenRequest: tokens of service accounts, asked for with the operator's credential."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.kube.errors import ApiError, Forbidden, InvalidToken, NotFound
from gateway.kube.paths import segment
from gateway.operator.kubeconfig import Context
from gateway.operator.server import Server, connected

SHORTEST: Final = 600
"""Seconds of the shortest token that Kubernetes makes."""
_TOLERATED: Final = 60


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token. `expires_at` is in seconds since the epoch; `shortened` says that it is sooner than was asked."""

    token: str = field(repr=False)
    expires_at: float
    shortened: bool
    audiences: tuple[str, ...]


async def mint(context: Context, service_account: str, audiences: Sequence[str], seconds: int) -> Minted:
    """Have the context's cluster make a token of `namespace/name` for these audiences, in this order.

    Raises:
        KubeconfigError: The kubeconfig, or what it names, can't be used.
        ApiError: The API server's no; the text says what is missing.
        GatewayError: It can't be asked.
    """
    async with connected(context) as server:
        return await mint_at(server, service_account, audiences, seconds)


async def mint_at(
    server: Server, service_account: str, audiences: Sequence[str], seconds: int, *, dry_run: bool = False
) -> Minted:
    """Do as `mint` does, on an open connection (TokenRequest, authentication.k8s.io/v1).

    Without audiences the token is for the cluster's default ones. A dry run leaves no trace, and gives a token as well.
    """
    namespace, _, name = service_account.partition("/")
    path = (
        f"/api/v1/namespaces/{segment(namespace, 'namespace')}/serviceaccounts/{segment(name, 'service account')}/token"
    )
    spec: dict[str, Any] = {"expirationSeconds": seconds}
    if audiences:
        spec["audiences"] = list(audiences)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    try:
        answer = await server.request("POST", path, body, query={"dryRun": "All"} if dry_run else None)
    except ApiError as error:
        raise _explained(error, server.context, namespace, name) from error
    status = answer["status"]
    expires_at = datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
    given = answer["spec"].get("expirationSeconds", seconds)
    return Minted(status["token"], expires_at, given + _TOLERATED < seconds, tuple(answer["spec"]["audiences"]))


async def default_audience(server: Server, *service_accounts: str) -> str | None:
    """Return the cluster's own audience, which Kubernetes gives a token that was asked for none.

    It is asked as a dry run about the first of these service accounts that exists; None where none does.

    Raises:
        GatewayError: It can't be asked, or is not allowed.
    """
    for service_account in service_accounts:
        try:
            return (await mint_at(server, service_account, (), SHORTEST, dry_run=True)).audiences[0]
        except NotFound:
            continue
    return None


def _explained(error: ApiError, context: Context, namespace: str, name: str) -> GatewayError:
    match error:
        case NotFound():
            message = f"There is no service account {namespace}/{name} on context {context.name!r}."
            return NotFound(error.status, error.reason, message)
        case Forbidden():
            message = (
                f"Context {context.name!r} may not create tokens of service account {namespace}/{name}: its user needs "
                "create on serviceaccounts/token there."
            )
            return Forbidden(error.status, error.reason, message)
        case InvalidToken():
            message = f"The API server does not accept the credential of context {context.name!r}. Sign in again."
            return InvalidToken(error.status, error.reason, message)
        case _:
            return error

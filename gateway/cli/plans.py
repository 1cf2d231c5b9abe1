"""Boundary between one cluster as it is and what `onboard` would make of it; nothing is changed here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.clusters.options import ClusterOptions
from gateway.clusters.urls import canonical_url
from gateway.errors import BadArgument, GatewayError
from gateway.operator.naming import NAMESPACE
from gateway.operator.objects import Step, bound, listed, planned
from gateway.operator.roles import MANAGED_BY, RBAC, Manifest, Role, manifests, narrowed
from gateway.operator.server import Server
from gateway.operator.tokens import default_audience
from gateway.policy.options import PolicyOptions
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for one cluster. `entry` is what the settings lack; `unlist` takes the cluster out of them."""

    name: str
    server: Server
    audience: str | None
    steps: list[Step]
    entry: dict[str, Any] | None = None
    unlist: bool = False
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.unlist or self.entry is not None or any(step.action != "keep" for step in self.steps)


async def plan_for(
    server: Server, settings: Settings | None, name: str, role: Role, service_account: str, *, minter: str | None
) -> Plan:
    """Plan to give a service account a role, and to list the cluster under this name unless it is listed already.

    Raises:
        GatewayError: It can't be done; the text says why.
    """
    known = _listed(settings, server)
    audience = await default_audience(server, service_account, "kube-system/default", "default/default")
    policy = known.policy if known else PolicyOptions.model_validate(role.policy)
    existing = [one["metadata"]["name"] for one in await listed(server, "v1", "Namespace", ours=False)]
    wanted = manifests(narrowed(role, policy), policy, service_account, existing, minter)
    missing = frozenset({service_account.partition("/")[0]} - set(existing))
    steps = [await planned(server, manifest, missing) for manifest in wanted]
    steps += [Step("delete", one) async for one in bound(server, service_account) if not _among(one, wanted, minter)]
    return Plan(
        known.name if known else name,
        server,
        known.default_audience if known and known.default_audience else audience,
        steps,
        entry=None if known else _entry(settings, server, name, audience, role.policy),
        notes=tuple(_notes(server, known, audience, policy)),
    )


async def completed(plan: Plan, service_account: str) -> Plan:
    """Return the plan with the default audience that could not be asked for before there was a service account.

    Raises:
        GatewayError: The cluster can't be asked.
    """
    if plan.audience or plan.entry is None:
        return plan
    audience = await default_audience(plan.server, service_account)
    entry = {**plan.entry, "defaultAudience": audience} if audience else plan.entry
    return replace(plan, audience=audience, entry=entry)


async def removal_for(server: Server, settings: Settings | None, service_account: str) -> Plan:
    """Plan to take back what onboarding made for a service account, and with the last of them everything else.

    Raises:
        GatewayError: The cluster does not let it be looked for.
    """
    known = _listed(settings, server)
    namespace, _, name = service_account.partition("/")
    steps = [Step("delete", one) async for one in bound(server, service_account)]
    accounts = await listed(server, "v1", "ServiceAccount")
    others = []
    for one in accounts:
        metadata = one["metadata"]
        if (metadata["namespace"], metadata["name"]) == (namespace, name):
            steps.append(Step("delete", _reference("v1", "ServiceAccount", metadata)))
        else:
            others.append(f"{metadata['namespace']}/{metadata['name']}")
    if not others:
        steps += [
            Step("delete", _reference(f"{RBAC}/v1", "ClusterRole", one["metadata"]))
            for one in await listed(server, f"{RBAC}/v1", "ClusterRole")
        ]
        steps += [
            Step("delete", _reference("v1", "Namespace", one["metadata"]))
            for one in await listed(server, "v1", "Namespace")
            if one["metadata"]["name"] == namespace and not await _others_inside(server, namespace, name)
        ]
    shown = known.name if known else server.context.name
    notes = (f"{', '.join(others)} stay, and so does the cluster in the settings",) if others and known else ()
    return Plan(shown, server, None, steps, unlist=known is not None and not others, notes=notes)


def entry_of(settings: Settings, plan: Plan) -> ClusterOptions:
    """Return the plan's cluster as the settings list it now."""
    return next(cluster for cluster in settings.clusters if cluster.name == plan.name)


async def _others_inside(server: Server, namespace: str, name: str) -> bool:
    inside = await listed(server, "v1", "ServiceAccount", namespace, ours=False)
    return any(one["metadata"]["name"] not in ("default", name) for one in inside)


def _listed(settings: Settings | None, server: Server) -> ClusterOptions | None:
    url = _url(server)
    clusters = settings.clusters if settings else ()
    return next((cluster for cluster in clusters if url in (cluster.server, cluster.address)), None)


def _url(server: Server) -> str:
    try:
        return canonical_url(server.context.server)
    except ValueError as error:
        raise GatewayError(f"its server {server.context.server} can't be listed: {error}") from error


def _entry(
    settings: Settings | None, server: Server, name: str, audience: str | None, policy: dict[str, list[str]]
) -> dict[str, Any]:
    context = server.context
    if settings and any(cluster.name == name for cluster in settings.clusters):
        raise BadArgument(
            f"The settings list another cluster as {name!r}; choose a name: --context NAME={context.name}"
        )
    entry: dict[str, Any] = {"name": name, "server": _url(server)}
    if context.insecure:
        entry["insecure"] = True
    elif context.ca_pem:
        entry["certificateAuthorityData"] = context.ca_pem.strip() + "\n"
    if context.tls_server_name:
        entry["tlsServerName"] = context.tls_server_name
    if audience:
        entry["defaultAudience"] = audience
    return {**entry, "policy": policy} if policy else entry


def _notes(server: Server, known: ClusterOptions | None, audience: str | None, policy: PolicyOptions) -> Sequence[str]:
    notes = []
    if server.context.insecure and known is None:
        notes.append("its certificate is not verified, as in the kubeconfig: whoever is in between reads every token")
    if server.context.proxy_url:
        notes.append(f"the kubeconfig reaches it through {server.context.proxy_url}; the gateway dials it directly")
    if known and known.default_audience and audience and known.default_audience != audience:
        notes.append(f"the settings say defaultAudience {known.default_audience}, but it is {audience}")
    if known and server.context.ca_pem and _ca(known) not in ("", server.context.ca_pem.strip()):
        notes.append("its CA in the settings is not the kubeconfig's; `check` says whether it is the right one")
    if policy.namespaces.deny and not policy.namespaces.allow:
        notes.append("bound in each namespace the policy leaves; for new ones run this again")
    return notes


def _ca(cluster: ClusterOptions) -> str:
    if cluster.certificate_authority is not None:
        return cluster.certificate_authority.read_text(encoding="utf-8").strip()
    return (cluster.certificate_authority_data or "").strip()


def _among(found: Manifest, wanted: Sequence[Manifest], minter: str | None) -> bool:
    """Say whether a binding that is there stays: it is wanted, or lets somebody mint and nobody else was named."""
    keys = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in wanted}
    metadata = found["metadata"]
    minting = metadata["name"].startswith(f"{NAMESPACE}:token:") and minter is None
    return minting or (found["kind"], metadata.get("namespace"), metadata["name"]) in keys


def _reference(version: str, kind: str, metadata: Manifest) -> Manifest:
    named = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    return {"apiVersion": version, "kind": kind, "metadata": {**named, "labels": dict(MANAGED_BY)}}

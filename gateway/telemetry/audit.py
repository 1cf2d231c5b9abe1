"""Boundary to the audit trail: one record per Kubernetes request a caller caused, refusals included."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import structlog

UNSENT: Final = 0
"""The status of a request that never left, or was never answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who asked which cluster for what, and what came of it. Never a token, never a payload."""

    request_id: str
    issuer: str
    subject: str
    token_id: str
    cluster: str
    tool: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    decision: str
    status: int
    size: int
    seconds: float
    api_audit_id: str


class Auditor(Protocol):
    """Where audit records go."""

    def __call__(self, record: AuditRecord, /) -> None:
        """Take one record; must not block."""


def audit_to_log() -> Auditor:
    """Return what writes each record to the log, as the event `kubernetes_request`. Configure logging before."""
    # Bound once: structlog's lazy logger is made anew at each event, which every Kubernetes request would pay for.
    log = structlog.get_logger("audit").bind()
    return partial(_write, log)


def _write(log: Any, record: AuditRecord, /) -> None:
    log.info(
        "kubernetes_request",
        request_id=record.request_id,
        issuer=record.issuer,
        subject=record.subject,
        token_id=record.token_id,
        cluster=record.cluster,
        tool=record.tool,
        verb=record.verb,
        group=record.group,
        resource=record.resource,
        subresource=record.subresource,
        namespace=record.namespace,
        name=record.name,
        decision=record.decision,
        status=record.status,
        bytes=record.size,
        ms=round(record.seconds * 1000, 1),
        api_audit_id=record.api_audit_id,
    )

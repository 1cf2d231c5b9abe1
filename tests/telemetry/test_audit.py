from dataclasses import fields

from structlog.testing import capture_logs

from gateway.telemetry.audit import UNSENT, AuditRecord, audit_to_log

RECORD = AuditRecord(
    request_id="r-1",
    issuer="https://kubernetes.default.svc",
    subject="system:serviceaccount:demo:mcp",
    token_id="t-1",
    cluster="east",
    tool="resource_get",
    verb="get",
    group="apps",
    resource="deployments",
    subresource="scale",
    namespace="demo",
    name="web",
    decision="allow",
    status=200,
    size=2345,
    seconds=0.01234,
    api_audit_id="a-1",
)


def test_a_record_is_one_event_with_everything_in_it() -> None:
    """Whoever reads the trail needs no second source; times are milliseconds there."""
    with capture_logs() as logs:
        audit_to_log()(RECORD)
    [entry] = logs
    assert (entry.pop("event"), entry.pop("log_level")) == ("kubernetes_request", "info")
    assert (entry.pop("ms"), entry.pop("bytes")) == (12.3, 2345)
    assert entry == {
        field.name: getattr(RECORD, field.name) for field in fields(RECORD) if field.name not in {"size", "seconds"}
    }


def test_a_request_that_was_not_sent_has_no_status() -> None:
    """Zero is no HTTP status, so that nobody takes a refusal for an answer."""
    assert UNSENT == 0

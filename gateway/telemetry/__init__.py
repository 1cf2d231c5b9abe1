"""The boundary to whoever watches the gateway from outside: logs, metrics, the audit trail."""

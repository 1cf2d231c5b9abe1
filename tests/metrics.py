"""Boundary between the catalogue of metrics and the page about them."""

from collections.abc import Iterator

from gateway.telemetry.catalogue import CATALOGUE, Described
from gateway.telemetry.series import BOUNDS

HEAD = """# Metrics

Made from the code by `make docs`. Prometheus reads them at `/metrics` of the admin listener (`admin.port`, 9464), as
text or as OpenMetrics. Beside these stand the process' own (`process_cpu_seconds_total`, `process_open_fds`,
`process_resident_memory_bytes`). Alerts on them: [alerts.md](alerts.md). The rest: [observing.md](observing.md).

Label values come from the settings, the tools and fixed lists, never from a caller or a cluster. A series is there from
its first event on; numbers without labels are there from the start. Histograms have {buckets}
buckets from {least} to {most} seconds.
"""


def page() -> str:
    """Return docs/metrics.md."""
    head = HEAD.format(buckets=len(BOUNDS), least=f"{BOUNDS[0]:g}", most=f"{BOUNDS[-1]:g}")
    return head + "".join(part for each in CATALOGUE for part in _section(each))


def _section(each: Described) -> Iterator[str]:
    labels = f", by {', '.join(f'`{label}`' for label in each.labels)}" if each.labels else ""
    yield f"\n## `{each.full_name}`\n\n*{each.kind}{labels}* — {each.documentation}\n\n{each.advice}\n"

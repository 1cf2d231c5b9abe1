"""Boundary where text leaves towards the client: the last look for credentials, and for what no reader would see."""

from gateway.clusters.options import ClusterOptions
from gateway.redaction import masks
from gateway.redaction.text import Clean, redacted
from gateway.redaction.visible import visible
from gateway.telemetry.metrics import Metrics


def words(metrics: Metrics, cluster: ClusterOptions, text: str) -> str:
    """Return a failure, a question or a progress report as the client may have it."""
    return _passed(metrics, cluster, text)[0]


def answer(metrics: Metrics, cluster: ClusterOptions, text: str) -> str:
    """Return an answer as the client may have it; it says once how many values are masked.

    That stands at the end of the first line, or, where the answer is a JSON object, in a field of it.
    """
    text, count = _passed(metrics, cluster, text)
    if not count:
        return text
    if text.startswith("{"):
        return f'{{"redacted":{count},{text[1:]}'
    first, line_feed, rest = text.partition("\n")
    return f"{first} · {count} value{'s' if count > 1 else ''} redacted{line_feed}{rest}"


def _passed(metrics: Metrics, cluster: ClusterOptions, text: str) -> tuple[str, int]:
    if isinstance(text, Clean):
        return str(text), 0
    if not cluster.redaction:
        return visible(text), 0
    text = redacted(text)
    if count := masks.count(text):
        metrics.redacted(cluster.name, count)
    return visible(text), count

"""The boundary between timestamps and the short ages that tables show (k8s.io/apimachinery util/duration)."""

from datetime import datetime

UNKNOWN = "<unknown>"


def parse_time(text: str) -> datetime:
    """Parse RFC 3339 as Kubernetes writes it, with or without fractions."""
    return datetime.fromisoformat(text)


def human(seconds: float) -> str:
    """Return a duration as `kubectl get` prints ages: 119s, 5m30s, 3h12m, 7d, 2y15d."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    years = days // 365
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if years < 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def since(text: str | None, now: datetime) -> str:
    """Return how long ago a timestamp was."""
    return human((now - parse_time(text)).total_seconds()) if text else UNKNOWN


def between(start: str | None, end: str | None) -> str:
    """Return the time between two timestamps."""
    return human((parse_time(end) - parse_time(start)).total_seconds()) if start and end else UNKNOWN

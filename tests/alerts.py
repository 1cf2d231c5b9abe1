"""Makes of the alert rules what others read: the manifest for prometheus-operator, and docs/alerts.md."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "config/prometheus/alerts.yaml"
MANIFEST = ROOT / "config/kubernetes/components/monitoring/prometheusrule.yaml"
HEAD = """# Alerts

Made from [alerts.yaml](../config/prometheus/alerts.yaml) by `make docs`. They fire within a minute
or two of what they tell, and each says what to do. Route them by `severity`.
"""


def rules() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def manifest() -> str:
    """Return the same rules as a PrometheusRule."""
    text = RULES.read_text(encoding="utf-8")
    head = "# Made from config/prometheus/alerts.yaml by `make docs`.\napiVersion: monitoring.coreos.com/v1\n"
    head += "kind: PrometheusRule\nmetadata:\n  name: kube-mcp-gateway\nspec:\n"
    body = text[text.index("groups:") :]
    return head + "".join(f"  {line}" if line.strip() else line for line in body.splitlines(keepends=True))


def page() -> str:
    """Return docs/alerts.md."""
    parts = [HEAD]
    for rule in rules():
        notes = rule["annotations"]
        after = f", after {rule['for']}" if "for" in rule else ""
        parts.append(f"\n## {rule['alert']}\n\n*{rule['labels']['severity']}{after}* — {_plain(notes['summary'])}\n\n")
        parts.append(f"{_plain(notes['description'])}\n\n**What to do.** {notes['action'].strip()}\n\n")
        parts.append(f"```promql\n{rule['expr'].strip()}\n```\n")
    return "".join(parts)


def _plain(text: str) -> str:
    """Return the text with a name in place of each of Prometheus' templates."""
    for template, name in (
        ("{{ $value | humanizePercentage }}", "Some percent"),
        ("{{ $value | humanizeDuration }}", "so long"),
        ("{{ $value | humanize }}", "So many"),
        ("{{ $labels.cluster }}", "a cluster"),
        ("{{ $labels.tool }}", "A tool"),
        ("{{ $labels.rate }}", "calls"),
    ):
        text = text.replace(template, name)
    return text

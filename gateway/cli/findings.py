"""Boundary between what `check` looks at and how it is shown: one finding is one value."""

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look came to: `skip` where it could not be taken, `warn` where it is well now and may not stay so."""

    check: str
    status: Status
    detail: str


@dataclass(slots=True)
class Report:
    """All findings about one cluster, in the order they were made; it is filled while the cluster is looked at."""

    cluster: str
    server: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, check: str, status: Status, detail: str) -> None:
        """Note one more."""
        self.findings.append(Finding(check, status, detail))

    def detail(self, check: str) -> str:
        """Return what a check that went well found, and nothing for any other."""
        return next((one.detail for one in self.findings if one.check == check and one.status in ("ok", "warn")), "")

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return any(finding.status == "fail" for finding in self.findings)

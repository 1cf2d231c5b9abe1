"""Boundary between what `check` looks at and how it is shown: one finding is one value."""

from dataclasses import dataclass, field
from typing import Final, Literal

Status = Literal["ok", "warn", "fail", "skip"]
_WELL: Final = ("ok", "warn")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look came to: `skip` where it could not be taken, `warn` where it is well now and may not stay so.

    `short` is what a table has room for.
    """

    check: str
    status: Status
    detail: str
    short: str = ""


@dataclass(slots=True)
class Report:
    """All findings about one cluster, in the order they were made; it is filled while the cluster is looked at."""

    cluster: str
    server: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, check: str, status: Status, detail: str, short: str = "") -> None:
        """Note one more."""
        self.findings.append(Finding(check, status, detail, short))

    def short(self, check: str) -> str:
        """Return in a word what a check found that went well, and nothing of any other."""
        return next(
            (one.short or one.detail for one in self.findings if one.check == check and one.status in _WELL), ""
        )

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return any(finding.status == "fail" for finding in self.findings)

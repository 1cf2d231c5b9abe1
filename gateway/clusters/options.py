"""Boundary between the `clusters` section of the settings and the clusters that are served."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.clusters.urls import canonical_url
from gateway.options import Options
from gateway.policy.options import PolicyOptions

Seconds = Annotated[float, Field(gt=0, le=3600)]
CanonicalUrl = Annotated[str, AfterValidator(canonical_url)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class LimitOptions(Options):
    """What one cluster's callers may use: times in seconds, sizes in bytes, counts; calls a minute for each caller.

    One call of a tool may make `requests_per_call` requests to the API server.
    After `breaker_failures` failures in a row (0: never) the cluster is left alone for about `breaker_seconds`.
    """

    connect_seconds: Seconds = 3
    first_byte_seconds: Seconds = 15
    call_seconds: Seconds = 30
    connections: int = Field(default=64, ge=1, le=1024)
    queue: int = Field(default=256, ge=0, le=10_000)
    requests_per_call: int = Field(default=400, ge=20, le=100_000)
    breaker_failures: int = Field(default=5, ge=0, le=1000)
    breaker_seconds: Seconds = 10
    answer_bytes: int = Field(default=24 * 1024, ge=1024, le=1024 * 1024)
    reads_per_minute: int = Field(default=120, ge=1, le=1_000_000)
    writes_per_minute: int = Field(default=30, ge=1, le=1_000_000)
    others_per_minute: int = Field(default=60, ge=1, le=1_000_000)


class ClusterOptions(Options):
    """One listed cluster.

    `server` is the URL that tokens name; `address`, where it differs, is what is dialled. With `redaction`, credentials
    are masked in everything that agents read.
    """

    name: Name
    label: str = Field(default="", max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")
    server: CanonicalUrl
    address: CanonicalUrl | None = None
    certificate_authority: Path | None = None
    certificate_authority_data: str | None = None
    tls_server_name: str = Field(default="", max_length=253, pattern=r"^[A-Za-z0-9.-]*$")
    insecure: bool = False
    default_audience: str | None = Field(default=None, min_length=1, max_length=2048)
    redaction: bool = True
    policy: PolicyOptions = PolicyOptions()
    limits: LimitOptions = LimitOptions()

    @model_validator(mode="after")
    def _one_kind_of_trust(self) -> Self:
        given = [self.certificate_authority is not None, self.certificate_authority_data is not None, self.insecure]
        if sum(given) > 1:
            message = "give only one of certificateAuthority, certificateAuthorityData and insecure"
            raise ValueError(message)
        return self

    @property
    def shown(self) -> str:
        """The name as answers show it: with its label, where it has one."""
        return f"{self.name} [{self.label}]" if self.label else self.name

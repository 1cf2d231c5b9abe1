"""Boundary between the `listen` section of the settings and the endpoint that agents call."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.options import Options


def _network(value: object) -> object:
    try:
        return ip_network(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError("expected a network, such as 10.0.0.0/8") from error


Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:%_-]+$")]
HostHeader = Annotated[
    str, Field(max_length=260, pattern=r"^[A-Za-z0-9._-]+(:([0-9]{1,5}|\*))?$|^\[[0-9A-Fa-f:.]+\](:([0-9]{1,5}|\*))?$")
]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Origin = Annotated[str, Field(max_length=2048, pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+$")]

PublicUrl = Annotated[
    str,
    Field(max_length=2048, pattern=r"^(https://[^/]|http://(localhost|127\.0\.0\.1)(:|/|$))[^\s?#@\"\\]*$"),
]


class TlsOptions(Options):
    """The endpoint's own certificate chain and private key, as PEM files."""

    certificate: Path
    key: Path


class ProtectedResourceOptions(Options):
    """What RFC 9728 tells clients: the gateway's URL from outside, without /mcp, and who issues tokens for it."""

    url: PublicUrl
    authorization_servers: Annotated[tuple[PublicUrl, ...], Field(min_length=1)]


class ListenOptions(Options):
    """Where agents call, and whom the endpoint answers. Port 0 takes a free one.

    `allowed_hosts` are values of the Host header, `host` or `host:port`, with `:*` for any port; `allowed_origins` are
    web origins (RFC 6454) such as `https://console.example`. `trusted_proxies` are the networks whose forwarding
    headers are believed. After `failed_authentications_per_minute` refused tokens a source has to wait; 0 is no limit.
    `drain_seconds` is how long calls in flight may take once the process was asked to end; `drain_delay_seconds` is how
    long before that it still takes new ones, while /readyz says that it drains.
    """

    host: Host = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    tls: TlsOptions | None = None
    behind_tls_proxy: bool = False
    protected_resource: ProtectedResourceOptions | None = None
    allowed_hosts: tuple[HostHeader, ...] = ()
    allowed_origins: tuple[Origin, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    failed_authentications_per_minute: int = Field(default=60, ge=0, le=1_000_000)
    drain_delay_seconds: float = Field(default=0, ge=0, le=600)
    drain_seconds: float = Field(default=30, ge=0, le=3600)

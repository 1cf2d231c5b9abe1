"""Boundary between the `admin` section of the settings and the admin listener."""

from typing import Annotated

from pydantic import Field

from gateway.options import Options, is_loopback


class AdminOptions(Options):
    """Where health, metrics and the page are read. It has no login, hence loopback. Port 0 takes a free one.

    `page` is on where only this machine can reach it, unless said otherwise. `allowed_hosts` are names, without a port,
    under which it may be asked for beside loopback's own.
    """

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:%_-]+$")] = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)
    page: bool | None = None
    allowed_hosts: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = ()

    @property
    def has_page(self) -> bool:
        """Whether the page is served."""
        return is_loopback(self.host) if self.page is None else self.page

"""Boundary between the `admin` section of the settings and the admin listener."""

from typing import Annotated

from pydantic import Field

from gateway.options import Options


class AdminOptions(Options):
    """Where health and metrics are read. It has no login, hence loopback. Port 0 takes a free one."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:%_-]+$")] = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)

"""Boundary between the settings about tokens and the room that judges them."""

from typing import Annotated

from pydantic import Field

from gateway.options import Options

Leeway = Annotated[float, Field(ge=0, le=60)]


class IdentityOptions(Options):
    """The gateway's own audience, and how many seconds the clocks of issuer and gateway may differ."""

    audience: str = Field(default="k-mcp", min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")
    nbf_leeway_seconds: Leeway = 10
    exp_leeway_seconds: Leeway = 0

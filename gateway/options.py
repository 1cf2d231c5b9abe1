"""Boundary between settings as people write them (camelCase, YAML) and the frozen options of each room."""

from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Options(BaseModel):
    """Base of every room's options: frozen, camelCase in files, and a word nobody declared is a mistake."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens there; an unknown name is taken for reachable."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

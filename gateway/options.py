"""Boundary between settings as people write them (camelCase, YAML) and the frozen options of each room."""

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

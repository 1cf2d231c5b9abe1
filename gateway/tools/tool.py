"""Boundary between a tool and whoever offers it: its name, words, arguments and the function that runs it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from gateway.access.session import ClusterSession
from gateway.clusters.rates import Rate
from gateway.policy.options import PolicyOptions


class Arguments(BaseModel):
    """Base of a tool's arguments: camelCase, nothing unknown, and strings like "true" and "5" taken as meant.

    Agents write null or an empty string for what they leave out; both count as left out.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        str_max_length=4096,
    )

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, given: object) -> object:
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value is not None and value != ""}
        return given


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool. `run` returns the answer's text, whose first line names the cluster; it raises GatewayError.

    `rate` is the limit it counts against. One that `needs` a write is offered where the policy has that write.
    `seconds` is its own time limit where the cluster's does not apply. The last four are MCP's tool annotations
    (specification, "Tool Annotations").
    """

    name: str
    title: str
    description: str
    arguments: type[A]
    run: Callable[[ClusterSession, A], Awaitable[str]]
    rate: Rate = "reads"
    needs: Literal["apply", "post", "delete"] | None = None
    seconds: Callable[[A], float] | None = None
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True
    open_world: bool = False

    def is_offered(self, policy: PolicyOptions) -> bool:
        """Whether callers of a cluster with this policy have the tool at all."""
        return self.needs is None or self.needs in policy.writes

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, without what a model does not need (titles, null alternatives)."""
        schema = self.arguments.model_json_schema()
        definitions = schema.pop("$defs", {})
        for model in (schema, *definitions.values()):
            # The class's docstring, which is for whoever reads the code.
            model.pop("description", None)
        lean: dict[str, Any] = _lean(_inlined(schema, definitions))
        return lean


_NO_DEFAULT: Final = dict | None
"""Types of defaults that say no more than that an argument may be left out."""


def _lean(node: Any) -> Any:  # JSON
    if isinstance(node, list):
        return [_lean(item) for item in node]
    if not isinstance(node, dict):
        return node
    lean = {
        key: {name: _lean(value) for name, value in inner.items()} if key == "properties" else _lean(inner)
        for key, inner in node.items()
        if not (
            key in {"title", "additionalProperties", "maxLength"}
            or (key == "default" and isinstance(inner, _NO_DEFAULT))
        )
    }
    if "anyOf" in lean:
        options = [option for option in lean.pop("anyOf") if option != {"type": "null"}]
        lean = {**(options[0] if len(options) == 1 else {"anyOf": options}), **lean}
    return lean


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:  # JSON
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return {key: _inlined(value, definitions) for key, value in node.items()}

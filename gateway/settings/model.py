"""Boundary between the rooms' own options and the one value that the whole gateway is built from."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.admin.options import AdminOptions
from gateway.clusters.options import ClusterOptions
from gateway.edge.options import ListenOptions
from gateway.errors import GatewayError
from gateway.identity.options import IdentityOptions
from gateway.kube.holding import BYTES_IN_FLIGHT
from gateway.telemetry.audit import AuditOptions
from gateway.telemetry.logs import LogOptions

PREFIX = "KUBE_MCP_GATEWAY_"


class Settings(IdentityOptions, BaseSettings):
    """Everything an operator can choose. What `identity` declares (`audience` and leeways) stands at the top level.

    `load_settings` is the way to make one from files, environment and flags; the constructor reads none of them.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_prefix_target="all", env_nested_delimiter="__", env_ignore_empty=True
    )

    listen: ListenOptions = ListenOptions()
    admin: AdminOptions = AdminOptions()
    log: LogOptions = LogOptions()
    audit: AuditOptions = AuditOptions()
    rate_limiting: bool = True
    bytes_in_flight: int = Field(default=BYTES_IN_FLIGHT, ge=16 * 1024 * 1024, le=16 * 1024**3)
    serve_resources: bool = False
    shared_store: str | None = Field(default=None, pattern=r"^(valkey|redis)s?://\S+$", max_length=1000, repr=False)
    sealing_keys: Path | None = None
    clusters: tuple[ClusterOptions, ...] = ()
    clusters_directory: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is handed over, so that a surprise in the environment can't change it."""
        return (init_settings,)


class SettingsError(GatewayError):
    """The settings have mistakes, each of which `problems` names with its place and what was expected there."""

    outcome = "bad_settings"

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Keep the problems, and make one text of them."""
        self.problems = problems
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n".join([f"{count} in the settings; nothing was started.", *(f"  {p}" for p in problems)]))

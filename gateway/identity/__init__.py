"""Boundary between a Bearer token and who it speaks for: audiences, claims and keys become a `Principal`."""

from gateway.identity.options import IdentityOptions
from gateway.identity.principal import Principal
from gateway.identity.verifier import Identity, IdentityState

__all__ = ["Identity", "IdentityOptions", "IdentityState", "Principal"]

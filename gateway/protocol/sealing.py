"""Boundary between the gateway's sealing keys, which may change, and the SDK's own seal of request state."""

from mcp.server.request_state import AESGCMRequestStateCodec

from gateway.access.sealing import SealingKeys


class StateCodec:
    """The SDK's seal (AES-256-GCM, format `v1.`) under the keys as they are now."""

    def __init__(self, keys: SealingKeys) -> None:
        """Seal under the first of these keys, open under each."""
        self._keys = keys
        self._made_of = keys.of("state")
        self._codec = AESGCMRequestStateCodec(self._made_of)

    def seal(self, payload: bytes) -> str:
        """Return a token that only these keys open."""
        return self._current().seal(payload)

    def unseal(self, token: str) -> bytes:
        """Return what a token holds; raises the SDK's InvalidRequestState for one that no key opens."""
        return self._current().unseal(token)

    def _current(self) -> AESGCMRequestStateCodec:
        keys = self._keys.of("state")
        if keys is not self._made_of:
            self._codec, self._made_of = AESGCMRequestStateCodec(keys), keys
        return self._codec

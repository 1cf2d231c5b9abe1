"""Boundary to one API server as the operator: a kubeconfig's credential, JSON in and out, Kubernetes' own errors."""

import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from gateway.errors import GatewayError
from gateway.kube.errors import error_from
from gateway.operator.credentials import Credential, credential_of
from gateway.operator.kubeconfig import Context, KubeconfigError

_SECONDS: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_APPLY: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Server:
    """An API server with the operator's credential; made by `connected`."""

    context: Context
    _session: aiohttp.ClientSession
    _proxy: str | None

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """Send one request and return the JSON of its answer; a PATCH is a server-side apply. No redirect is followed.

        Raises:
            ApiError: The API server's no, in its own words.
            GatewayError: There was no answer; the text says why.
        """
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = _APPLY if method == "PATCH" else "application/json"
        try:
            async with self._session.request(
                method,
                URL(self.context.server + path, encoded=True).update_query(query or {}),
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
                server_hostname=self.context.tls_server_name or None,
            ) as answer:
                content = await answer.read()
                if not answer.ok or answer.status >= 300:  # noqa: PLR2004  # RFC 9110, section 15.4
                    raise error_from(answer.status, {k.lower(): v for k, v in answer.headers.items()}, content)
                return orjson.loads(content)
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise GatewayError(f"{self.context.server} can't be asked: {_why(error)}") from error


@asynccontextmanager
async def connected(context: Context, *, direct: bool = False) -> AsyncIterator[Server]:
    """Sign in as the context's user, and hold connections to its API server; `direct` uses no proxy, as the gateway.

    Raises:
        KubeconfigError: The kubeconfig, or what it names, can't be used.
    """
    credential = await credential_of(context)
    connector = aiohttp.TCPConnector(ssl=_tls(context, credential))
    async with aiohttp.ClientSession(
        connector=connector, timeout=_SECONDS, headers=credential.headers, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Server(context, session, None if direct else _proxy(context))


def _tls(context: Context, credential: Credential) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cadata=context.ca_pem or None)
    except ssl.SSLError as error:
        raise KubeconfigError(f"The CA of context {context.name!r} is no PEM certificate.") from error
    if context.insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    # As in the gateway's own: many clusters' CAs lack the extensions that Python 3.13 asks for by default.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if credential.certificate:
        # OpenSSL reads these from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(credential.certificate.rstrip() + b"\n" + credential.key)
            file.flush()
            try:
                tls.load_cert_chain(file.name, password="")
            except (ssl.SSLError, OSError) as error:
                raise KubeconfigError(
                    f"The client certificate and key of context {context.name!r} do not fit or can't be read."
                ) from error
    return tls


def _proxy(context: Context) -> str | None:
    """Return the proxy as kubectl chooses it: the kubeconfig's, or else the environment's."""
    host = urlsplit(context.server).hostname or ""
    proxy = context.proxy_url or ("" if proxy_bypass(host) else getproxies().get("https", ""))
    if proxy and not proxy.startswith(("http://", "https://")):
        raise KubeconfigError(
            f"Context {context.name!r} needs the proxy {proxy}; only http and https proxies work here."
        )
    return proxy or None


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            reason = getattr(error, "certificate_error", None) or error
            return (
                f"TLS failed ({getattr(reason, 'verify_message', None) or getattr(reason, 'reason', None) or reason})."
            )
        case TimeoutError():
            return "it did not answer in time."
        case aiohttp.ClientConnectorError():
            return f"no connection ({error.os_error.strerror or error.os_error})."
        case orjson.JSONDecodeError():
            return "its answer is not Kubernetes'."
        case _:
            return f"the connection broke ({type(error).__name__})."

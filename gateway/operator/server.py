"""Boundary to one API server as the operator: a kubeconfig's credential, JSON in and out, Kubernetes' own errors.

It speaks through the standard library, in threads: the wire's own client takes half a second to import, which agents'
clients would wait for before every connection, and these few requests gain nothing from it.
"""

import asyncio
import socket
import ssl
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import Any, Final
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from gateway.errors import GatewayError
from gateway.kube.errors import TooLarge, error_from
from gateway.operator.credentials import Credential, credential_of
from gateway.operator.kubeconfig import Context, KubeconfigError

_CONNECT_SECONDS: Final = 5.0
_SECONDS: Final = 30.0
_MAX_BYTES: Final = 16 * 1024 * 1024
_APPLY: Final = "application/apply-patch+yaml"
_OK: Final = range(200, 300)


class Server:
    """An API server with the operator's credential; made by `connected`."""

    def __init__(self, context: Context, credential: Credential, proxy: str | None) -> None:
        """Open nothing yet; connections come with the first requests and are kept for the next."""
        self.context = context
        self._headers = credential.headers
        self._tls = _tls(context, credential)
        self._proxy = proxy
        self._base = urlsplit(context.server).path.rstrip("/")
        self._idle: list[_Connection] = []

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
        headers = [*self._headers, ("Accept", accept)]
        if body is not None:
            headers.append(("Content-Type", _APPLY if method == "PATCH" else "application/json"))
        target = f"{self._base}{path}{'?' + urlencode(query) if query else ''}"
        content = None if body is None else orjson.dumps(body)
        is_kept = bool(self._idle)
        connection = self._idle.pop() if is_kept else _Connection(self.context, self._tls, self._proxy)
        try:
            try:
                status, answered, text = await _in_thread(connection, method, target, headers, content)
            except (RemoteDisconnected, ConnectionError):
                if not is_kept:
                    raise
                # It was closed while nobody used it. All that is sent here may be sent twice.
                connection = _Connection(self.context, self._tls, self._proxy)
                status, answered, text = await _in_thread(connection, method, target, headers, content)
            if status not in _OK:
                raise error_from(status, answered, text)
            return orjson.loads(text)
        except (OSError, HTTPException, orjson.JSONDecodeError) as error:
            raise GatewayError(f"{self.context.server} can't be asked: {_why(error)}") from error
        finally:
            if connection.is_reusable:
                self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that are kept."""
        for connection in self._idle:
            connection.close()


@asynccontextmanager
async def connected(context: Context, *, direct: bool = False) -> AsyncIterator[Server]:
    """Sign in as the context's user, and hold connections to its API server; `direct` uses no proxy, as the gateway.

    Raises:
        KubeconfigError: The kubeconfig, or what it names, can't be used.
    """
    server = Server(context, await credential_of(context), None if direct else _proxy(context))
    try:
        yield server
    finally:
        server.close()


class _Connection(HTTPConnection):
    """One connection with TLS, through a proxy where there is one, under the name the certificate must have."""

    default_port = 443

    def __init__(self, context: Context, tls: ssl.SSLContext, proxy: str | None) -> None:
        target = urlsplit(context.server)
        host, port = target.hostname or "", target.port or 443
        self._tls = tls
        self._name = context.tls_server_name or host
        self.is_reusable = False
        if proxy is None:
            super().__init__(host, port, timeout=_CONNECT_SECONDS)
        else:
            through = urlsplit(proxy)
            super().__init__(through.hostname or "", through.port or 80, timeout=_CONNECT_SECONDS)
            user = f"{unquote(through.username or '')}:{unquote(through.password or '')}".encode()
            headers = {"Proxy-Authorization": f"Basic {b64encode(user).decode()}"} if through.username else {}
            self.set_tunnel(host, port, headers)

    def connect(self) -> None:
        super().connect()
        # Kept before the handshake, so that it can be ended from outside.
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name, do_handshake_on_connect=False)
        self.sock.do_handshake()
        self.sock.settimeout(_SECONDS)

    def exchange(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read its answer."""
        self.is_reusable = False
        self.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            self.putheader(name, value)
        if body is not None:
            self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)
        answer = self.getresponse()
        content = answer.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            self.close()
            raise TooLarge(_MAX_BYTES)
        self.is_reusable = not answer.will_close
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


async def _in_thread(
    connection: _Connection, method: str, target: str, headers: list[tuple[str, str]], body: bytes | None
) -> tuple[int, dict[str, str], bytes]:
    try:
        return await asyncio.to_thread(connection.exchange, method, target, headers, body)
    except BaseException:
        # Also when the person pressed Ctrl-C: the thread must not wait for an answer that nobody wants.
        connection.is_reusable = False
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        raise


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
    if proxy and not proxy.startswith("http://"):
        raise KubeconfigError(f"Context {context.name!r} needs the proxy {proxy}; only http:// proxies work here.")
    return proxy or None


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLError():
            return f"TLS failed ({getattr(error, 'verify_message', None) or error.reason})."
        case TimeoutError():
            return "it did not answer in time."
        case OSError(strerror=str(words)):
            return f"no connection ({words})."
        case orjson.JSONDecodeError():
            return "its answer is not Kubernetes'."
        case _:
            return f"the connection broke ({type(error).__name__})."

"""Boundary to kubeconfig files: what one context says about its cluster and its user.

Read the way kubectl does (Kubernetes documentation, "Merging kubeconfig files"). kubernetes-asyncio has a reader too,
but it takes most of a second to import, and agents' clients run `token` before every connection.
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from gateway.errors import GatewayError

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubeconfigError(GatewayError):
    """The kubeconfig, or what it names, can't be used; the text says where and what to do."""

    outcome = "bad_kubeconfig"


@dataclass(frozen=True, slots=True)
class Context:
    """One context of a kubeconfig.

    `server` is the URL as written without a slash at the end. `ca_pem` is empty for the system's roots. `user` is the
    user's section as written, whose paths are relative to `user_folder`; `cluster` is the cluster's.
    """

    name: str
    server: str
    ca_pem: str
    tls_server_name: str
    insecure: bool
    proxy_url: str
    namespace: str
    files: tuple[Path, ...]
    user_folder: Path
    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Kubeconfig:
    """Several files as one: of two entries with one name the first counts, as does the first current-context."""

    files: tuple[Path, ...]
    current: str
    contexts: Mapping[str, tuple[Mapping[str, Any], Path]]
    clusters: Mapping[str, tuple[Mapping[str, Any], Path]]
    users: Mapping[str, tuple[Mapping[str, Any], Path]]


def read_context(kubeconfig: Path | None = None, context: str | None = None) -> Context:
    """Return a context, by default the current one, of this file, of those KUBECONFIG names, or of ~/.kube/config.

    Raises:
        KubeconfigError: There is no such file or context, or it can't be used.
    """
    return _context(_read(kubeconfig), context)


def read_contexts(kubeconfig: Path | None = None) -> tuple[Context, ...]:
    """Return every context that is complete, the current one first.

    Raises:
        KubeconfigError: There is no such file, or it can't be used.
    """
    config = _read(kubeconfig)
    found = []
    for name in sorted(config.contexts, key=lambda name: name != config.current):
        try:
            found.append(_context(config, name))
        except KubeconfigError:
            continue
    return tuple(found)


def data_or_file(section: Mapping[str, Any], key: str, folder: Path) -> bytes:
    """Return what `KEY-data` holds in base64, or else the content of the file that `KEY` names; nothing for neither.

    Raises:
        KubeconfigError: The data is not base64, or the file can't be read.
    """
    if data := section.get(f"{key}-data"):
        try:
            return base64.b64decode(str(data), validate=False)
        except (ValueError, binascii.Error) as error:
            raise KubeconfigError(f"{key}-data in the kubeconfig is not base64.") from error
    return read_file(folder / str(section[key]), key) if section.get(key) else b""


def read_file(path: Path, what: str) -> bytes:
    """Return a file's content.

    Raises:
        KubeconfigError: It can't be read; the text names it as `what`.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"The kubeconfig's {what}, {path}, can't be read: {error.strerror}.") from error


def _read(kubeconfig: Path | None) -> _Kubeconfig:
    named = [str(kubeconfig)] if kubeconfig else [part for part in os.environ.get("KUBECONFIG", "").split(":") if part]
    paths = [Path(part).expanduser() for part in named] or [Path.home() / ".kube" / "config"]
    files = tuple(path.absolute() for path in paths if path.is_file())
    if not files:
        looked = ", ".join(str(path) for path in paths)
        how = "Give one with --kubeconfig FILE or the variable KUBECONFIG."
        raise KubeconfigError(f"No kubeconfig: there is no file {looked}. {how}")
    documents = [(_document(file), file) for file in files]
    current = next((str(one["current-context"]) for one, _ in documents if one.get("current-context")), "")
    sections = [_merged(documents, plural, plural[:-1]) for plural in ("contexts", "clusters", "users")]
    return _Kubeconfig(files, current, *sections)


def _document(file: Path) -> Mapping[str, Any]:
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a safe loader
    except OSError as error:
        raise KubeconfigError(f"The kubeconfig {file} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1})" if mark else ""
        raise KubeconfigError(f"The kubeconfig {file} is not YAML{at}.") from error
    if document is not None and not isinstance(document, dict):
        raise KubeconfigError(f"{file} is no kubeconfig: it holds no keys and values.")
    return document or {}


def _merged(
    documents: Sequence[tuple[Mapping[str, Any], Path]], plural: str, singular: str
) -> dict[str, tuple[Mapping[str, Any], Path]]:
    merged: dict[str, tuple[Mapping[str, Any], Path]] = {}
    for document, file in documents:
        entries = document.get(plural) or []
        for entry in entries if isinstance(entries, list) else []:
            section = entry.get(singular) if isinstance(entry, dict) else None
            if isinstance(section, dict) and entry.get("name"):
                merged.setdefault(str(entry["name"]), (section, file.parent))
    return merged


def _context(config: _Kubeconfig, wanted: str | None) -> Context:
    where = " and ".join(str(file) for file in config.files)
    name = wanted or config.current
    if not name:
        raise KubeconfigError(f"{where} has no current context; name one with --context.{_known(config)}")
    if name not in config.contexts:
        raise KubeconfigError(f"{where} has no context {name!r}.{_known(config)}")
    section, _ = config.contexts[name]
    cluster, folder = config.clusters.get(str(section.get("cluster")), (_NOTHING, Path()))
    user, user_folder = config.users.get(str(section.get("user")), (_NOTHING, Path()))
    server = str(cluster.get("server") or "").rstrip("/")
    if not server:
        raise KubeconfigError(f"Context {name!r} in {where} names no cluster that has a server.")
    if section.get("user") and not user:
        raise KubeconfigError(f"Context {name!r} in {where} names a user that is not there: {section['user']}.")
    return Context(
        name=name,
        server=server,
        ca_pem=_certificates(data_or_file(cluster, "certificate-authority", folder)),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        proxy_url=str(cluster.get("proxy-url") or ""),
        namespace=str(section.get("namespace") or "default"),
        files=config.files,
        user_folder=user_folder,
        cluster=cluster,
        user=user,
    )


def _certificates(content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise KubeconfigError("The kubeconfig's certificate-authority is no PEM text.") from error


def _known(config: _Kubeconfig) -> str:
    return f" It has: {', '.join(sorted(config.contexts))}." if config.contexts else " It has none."

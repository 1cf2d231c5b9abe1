"""Boundary to how a kubeconfig's user proves itself: token, client certificate, password, or a plugin's answer."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.operator.kubeconfig import Context, KubeconfigError, data_or_file, read_file

_PLUGIN_SECONDS: Final = 60.0
_PERSON_SECONDS: Final = 600.0
"""Seconds a plugin may take by itself, and where a person may have to sign in."""
_CLUSTER_KEYS: Final = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes with each request: headers, and a client certificate with its key (PEM), both possibly empty."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


async def credential_of(context: Context) -> Credential:
    """Return the credential of a context's user; its plugin is run where it has one.

    Raises:
        KubeconfigError: The user's section can't be used, or its plugin failed; the text has the plugin's own words.
    """
    user, folder = context.user, context.user_folder
    certificate = data_or_file(user, "client-certificate", folder)
    key = data_or_file(user, "client-key", folder)
    authorization = ""
    if user.get("tokenFile"):
        authorization = f"Bearer {read_file(folder / str(user['tokenFile']), 'tokenFile').decode().strip()}"
    elif user.get("token"):
        authorization = f"Bearer {user['token']}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif user.get("auth-provider"):
        authorization = await _from_provider(context)
    elif isinstance(user.get("exec"), dict):
        status = await _from_plugin(context, user["exec"])
        authorization = f"Bearer {status['token']}" if status.get("token") else ""
        certificate = str(status.get("clientCertificateData") or "").encode() or certificate
        key = str(status.get("clientKeyData") or "").encode() or key
    return Credential((*_authorization(authorization), *_impersonation(user)), certificate, key)


def _authorization(value: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", value),) if value else ()


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the headers of `as`, `as-uid` and `as-groups`: without them more would be done than kubectl may do."""
    names = (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid"))
    single = tuple((header, str(user[key])) for key, header in names if user.get(key))
    return (*single, *(("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()))


async def _from_plugin(context: Context, plugin: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run an exec plugin (Kubernetes documentation, "client-go credential plugins")."""
    version, command = str(plugin.get("apiVersion") or ""), str(plugin.get("command") or "")
    if "/" in command and not Path(command).is_absolute():
        command = str(context.user_folder / command)
    # With a bridge for agents, standard input is theirs, and no terminal.
    interactive = sys.stdin is not None and sys.stdin.isatty() and plugin.get("interactiveMode") != "Never"
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: context.cluster[key] for key in _CLUSTER_KEYS if key in context.cluster}
        if context.ca_pem:
            spec["cluster"]["certificate-authority-data"] = base64.b64encode(context.ca_pem.encode()).decode()
    information = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    variables = {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *(str(argument) for argument in plugin.get("args") or ()),
            env={**os.environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(information)},
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            # A person has to see where to sign in.
            stderr=None if interactive else asyncio.subprocess.PIPE,
        )
    except OSError as error:
        hint = f" {' '.join(str(plugin['installHint']).split())}" if plugin.get("installHint") else ""
        raise KubeconfigError(
            f"Context {context.name!r} signs in with the program {command!r}, which can't be run: "
            f"{error.strerror}.{hint}"
        ) from error
    try:
        async with asyncio.timeout(_PERSON_SECONDS if interactive else _PLUGIN_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise KubeconfigError(f"The sign-in program {command!r} of context {context.name!r} did not end.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = " ".join((err or b"").decode(errors="replace").split())[-300:]
        raise KubeconfigError(
            f"The sign-in program {command!r} of context {context.name!r} failed (status {process.returncode})"
            f"{': ' + said if said else '.'}"
        )
    return _plugin_status(out, command)


def _plugin_status(out: bytes, command: str) -> Mapping[str, Any]:
    try:
        status = json.loads(out)["status"]
    except (ValueError, TypeError, KeyError):
        status = None
    if not isinstance(status, dict) or not (status.get("token") or status.get("clientCertificateData")):
        raise KubeconfigError(f"The sign-in program {command!r} answered no ExecCredential with a token.")
    return status


async def _from_provider(context: Context) -> str:
    """Have kubernetes-asyncio ask an old `auth-provider` (oidc, gcp), which may renew its token in the file."""
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415  # takes most of a second; few need it
    from kubernetes_asyncio.config import ConfigException, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    try:
        await load_kube_config(":".join(map(str, context.files)), context.name, configuration)
    except (ConfigException, ValueError, OSError) as error:
        raise KubeconfigError(f"The auth-provider of context {context.name!r} gave no token: {error}.") from error
    return str(configuration.api_key.get("BearerToken") or "")

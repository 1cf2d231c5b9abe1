"""Kubeconfigs of test clusters as people have them: with certificates, tokens, and programs that sign in."""

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import RealCluster


def certificate(cluster: RealCluster) -> dict[str, Any]:
    """Return the administrator's user section: a client certificate."""
    pair = {
        key: (cluster.directory / name).read_bytes()
        for key, name in (("certificate", "admin.crt"), ("key", "admin.key"))
    }
    return {f"client-{key}-data": base64.b64encode(content).decode() for key, content in pair.items()}


def plugin(folder: Path, status: Mapping[str, Any], *, say: str = "", end: int = 0) -> dict[str, Any]:
    """Return a user section whose program answers this status, says something on standard error, and ends so."""
    version = "client.authentication.k8s.io/v1"
    answer = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": dict(status)})
    program = folder / "sign-in"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stderr.write({say!r})\nprint({answer!r})\nsys.exit({end})\n"
    )
    program.chmod(0o700)
    return {"exec": {"apiVersion": version, "command": "./sign-in", "interactiveMode": "IfAvailable"}}


def kubeconfig(file: Path, contexts: Mapping[str, tuple[RealCluster, Mapping[str, Any]]], current: str = "") -> Path:
    """Write a kubeconfig with these contexts, each of a cluster and a user section; return its path."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current or next(iter(contexts)),
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in contexts],
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": cluster.server,
                    "certificate-authority-data": base64.b64encode(cluster.ca_pem).decode(),
                },
            }
            for name, (cluster, _) in contexts.items()
        ],
        "users": [{"name": name, "user": dict(user)} for name, (_, user) in contexts.items()],
    }
    file.write_text(yaml.safe_dump(document))
    return file

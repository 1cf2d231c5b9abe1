"""Boundary to a test cluster's API server as its administrator: plain HTTPS, each request on its own connection.

Synchronous, so that a cluster that lives as long as the whole test run belongs to no event loop.
"""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml
from prometheus_client.parser import text_string_to_metric_families

OK = range(200, 300)
NOT_FOUND, TOO_MANY_REQUESTS = 404, 429
FIELD_MANAGER = "test"
USER_AGENT = "tests.cluster"
APPLY_SECONDS = 10.0


class ApiRefusedError(RuntimeError):
    """The API server did not do what the set-up of a test needs; the text is its answer."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Where an API server is and with what its administrator comes."""

    server: str
    tls: ssl.SSLContext

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
        params: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes]:
        """Send one request and return status and body.

        A body that is neither bytes nor str is sent as JSON. A token counts only where `tls` brings no certificate,
        because Kubernetes looks at certificates first.
        """
        data = body if isinstance(body, bytes | str | None) else json.dumps(body)
        headers = {"Accept": "*/*", "User-Agent": USER_AGENT}
        if data is not None:
            headers["Content-Type"] = content_type
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        address = urlsplit(self.server)
        assert address.hostname
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=30, context=tls or self.tls)
        try:
            connection.request(method, f"{path}?{urlencode(params)}" if params else path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def must(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Send one request, and return the JSON of its answer.

        Raises:
            ApiRefusedError: the answer was not a 2xx.

        """
        status, data = self.request(method, path, body, **options)
        if status not in OK:
            raise ApiRefusedError(f"{method} {path}: {status} {data.decode(errors='replace')}")
        return json.loads(data)

    def apply(self, manifest: str) -> None:
        """Apply the documents of a YAML text on the server, in order, with force; namespaces and custom kinds first.

        What the server does not know or accept yet (a kind just defined: 404, or 429 while its storage begins) is
        tried again for 10 s.
        """
        documents = [document for document in yaml.safe_load_all(manifest) if document]
        first = {"Namespace": 0, "CustomResourceDefinition": 1}
        for document in sorted(documents, key=lambda each: first.get(each["kind"], 2)):
            deadline = time.monotonic() + APPLY_SECONDS
            while (refusal := self._apply_one(document)) is not None:
                if refusal[0] not in (NOT_FOUND, TOO_MANY_REQUESTS) or time.monotonic() > deadline:
                    name = f"{document['kind']} {document['metadata']['name']}"
                    raise ApiRefusedError(f"{name}: {refusal[0]} {refusal[1].decode()}")
                time.sleep(0.1)

    def _apply_one(self, document: Mapping[str, Any]) -> tuple[int, bytes] | None:
        version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        status, data = self.request("GET", root)
        served = json.loads(data)["resources"] if status in OK else []
        found = [each for each in served if each["kind"] == kind and "/" not in each["name"]]
        if not found:
            return NOT_FOUND, f"{version} has no {kind}".encode()
        namespace = f"/namespaces/{metadata.get('namespace', 'default')}" if found[0]["namespaced"] else ""
        status, data = self.request(
            "PATCH",
            f"{root}{namespace}/{found[0]['name']}/{metadata['name']}",
            document,
            content_type="application/apply-patch+yaml",
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
        )
        return None if status in OK else (status, data)


def client_context(ca: bytes, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return a TLS context that trusts just this CA and may present a client certificate."""
    context = ssl.create_default_context(cadata=ca.decode())
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def api_requests(metrics_text: str, **labels: str) -> float:
    """Sum apiserver_request_total over all these labels: verb, group, version, resource, subresource, scope, code."""
    lines = [line for line in metrics_text.splitlines() if line.startswith("apiserver_request_total{")]
    families = text_string_to_metric_families("# TYPE apiserver_request counter\n" + "\n".join(lines) + "\n")
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

"""Measures whole objects as YAML and as compact JSON: tokens for the model, time for the gateway.

`python -m tests.bench.formats` starts a real API server with controllers, takes twenty objects of as many kinds and
writes docs/formats.md. Tokens are counted with one offline tokenizer (o200k_base).
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpe_openai
import orjson

from gateway.tools.shaping import as_json, as_yaml, trimmed
from tests.cluster.cluster import RealCluster

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example/shop/web:1.4.2
          ports: [{containerPort: 8080, name: http}]
          env:
            - {name: LOG_LEVEL, value: info}
            - name: DB_HOST
              valueFrom: {configMapKeyRef: {name: settings, key: db.host}}
          resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
          readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 5}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: demo}
data: {db.host: db.demo.svc, app.properties: "a=1\\nb=2\\nlevel=info\\n"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: demo}
spec:
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: demo}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: report, image: "registry.example/shop/report:1", command: [report, --daily]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: demo}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: demo}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: demo}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: demo}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: front}}}]}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: demo}
spec: {hard: {pods: "10", requests.cpu: "4"}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: example.org/fast
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
"""
PATHS = (
    "/apis/apps/v1/namespaces/demo/deployments",
    "/apis/apps/v1/namespaces/demo/replicasets",
    "/api/v1/namespaces/demo/pods",
    "/api/v1/namespaces/demo/configmaps",
    "/api/v1/namespaces/demo/services",
    "/apis/networking.k8s.io/v1/namespaces/demo/ingresses",
    "/apis/batch/v1/namespaces/demo/cronjobs",
    "/api/v1/namespaces/demo/persistentvolumeclaims",
    "/apis/autoscaling/v2/namespaces/demo/horizontalpodautoscalers",
    "/apis/policy/v1/namespaces/demo/poddisruptionbudgets",
    "/apis/networking.k8s.io/v1/namespaces/demo/networkpolicies",
    "/api/v1/namespaces/demo/resourcequotas",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices",
    "/api/v1/namespaces/demo/events",
    "/api/v1/namespaces",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
)


HEAD = """# Whole objects: YAML or compact JSON

Written by `python -m tests.bench.formats`: twenty objects of as many kinds from a real API server, trimmed as
`resource_get` trims them. Tokens by o200k_base; times are medians of fifty.

| kind | YAML tokens | JSON tokens | YAML µs | JSON µs |
|---|---:|---:|---:|---:|
"""


def main() -> None:
    """Start the cluster, measure, write the page."""
    with RealCluster("formats") as cluster:
        rows = asyncio.run(_measured(cluster))
    totals = tuple(sum(row[column] for row in rows.values()) for column in range(4))
    lines = [_line(kind, row) for kind, row in rows.items()]
    page = Path(__file__).parents[2] / "docs" / "formats.md"
    page.write_text(HEAD + "\n".join([*lines, _line("**all**", totals)]) + "\n", encoding="utf-8")


def _line(kind: str, row: tuple[float, ...]) -> str:
    return f"| {kind} | " + " | ".join(f"{figure:,.0f}" for figure in row) + " |"


async def _measured(cluster: RealCluster) -> dict[str, tuple[float, ...]]:
    await cluster.apply(SHOP)
    encoding = bpe_openai.get_encoding("o200k_base")
    rows: dict[str, tuple[float, ...]] = {}
    for path in PATHS:
        item = await _first(cluster, path)
        tokens = [float(len(encoding.encode(render(item)))) for render in (as_yaml, as_json)]
        rows[path.rsplit("/", 1)[1]] = (*tokens, _microseconds(as_yaml, item), _microseconds(as_json, item))
    return rows


async def _first(cluster: RealCluster, path: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            _, body = await cluster.request("GET", path)
            document = orjson.loads(body)
            if document.get("items"):
                break
            await asyncio.sleep(0.2)  # controllers make the dependent objects in their own time
    item: dict[str, Any] = max(document["items"], key=lambda found: len(orjson.dumps(found)))
    group_version = document["apiVersion"]
    whole = {"apiVersion": group_version, "kind": document["kind"].removesuffix("List"), **item}
    return trimmed(whole, annotations=False)


def _microseconds(render: Callable[[object], str], item: dict[str, Any]) -> float:
    times = []
    for _ in range(50):
        started = time.perf_counter()
        render(item)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    main()

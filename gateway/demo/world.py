"""The boundary of the world to look at: two clusters, `east` and `west`, with a shop of which several parts are broken.

Everything is dated back from the moment the world is made, so that ages, restarts and probes read as in life.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gateway.demo import stories
from gateway.demo.builder import Builder, Event
from gateway.demo.infrastructure import backups, claim, infrastructure, quota, service
from gateway.demo.scripts import CATALOG, CHECKOUT, HEALTHY, MIGRATION, ORDERS, REPORT, RESIZER
from gateway.demo.server import EmbeddedCluster
from gateway.demo.state import Crash
from gateway.demo.wire import Obj
from gateway.demo.workloads import container, daemon_set, deployment, deployment_manifest, job, stateful_set

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
_REGISTRY = "registry.shop.example"


def _web(name: str, tag: str, **more: object) -> Obj:
    """Return the container of one of the shop's web services."""
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5}
    return container(
        name,
        f"{_REGISTRY}/{name}:{tag}",
        ports=[{"name": "http", "containerPort": 8080}],
        **{"resources": _SMALL, "readinessProbe": probe, **more},
    )


def _steady(build: Builder, name: str, tag: str, count: int) -> None:
    """Add a web service that works."""
    runs = [stories.healthy(HEALTHY, started=_DAY * (3 + index)) for index in range(count)]
    deployment(build, deployment_manifest("shop", name, _web(name, tag), count), runs, age=24 * _DAY)
    service(build, "shop", name, {"app.kubernetes.io/name": name})


def _databases(build: Builder) -> None:
    """Add the orders database, which works."""
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    storage |= {"storageClassName": "standard"}
    template = container("postgres", "postgres:17.2", ports=[{"containerPort": 5432}], resources=_SMALL)
    run = stories.healthy(ORDERS, started=20 * _DAY)
    stateful_set(build, "shop", "orders-db", template, [run], storage=storage, age=60 * _DAY)
    claim(build, "shop", "data-orders-db-0", storage, volume="pvc-7d0e6e1a-2f0b-4f0e-9d2c-5a4f3f6f5b11", age=60 * _DAY)
    service(build, "shop", "orders-db", {"app.kubernetes.io/name": "orders-db"}, port=5432, headless=True)


def _nightly(build: Builder) -> None:
    """Add a CronJob whose last run went well."""
    template = container("report", f"{_REGISTRY}/report:2.0.3", resources=_SMALL)
    pod = {"restartPolicy": "Never", "containers": [template]}
    spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    last = build.at(6 * _HOUR)
    status = {"lastScheduleTime": last, "lastSuccessfulTime": last}
    metadata = {"name": "nightly-report", "namespace": "shop"}
    build.add(
        {"kind": "CronJob", "apiVersion": "batch/v1", "metadata": metadata, "spec": spec, "status": status}, 60 * _DAY
    )
    job(build, "shop", "nightly-report-29376180", template, [stories.succeeded(REPORT, age=6 * _HOUR)], age=6 * _HOUR)


def _east(build: Builder) -> None:
    """Break east: crash loop, missing image, failing probe, service without pods, missing ConfigMap, failed job."""
    old, new = f"{_REGISTRY}/checkout:3.1.0", "3.2.0"
    checkout = _web("checkout", new, envFrom=[{"configMapRef": {"name": "checkout"}}])
    image = checkout["image"]
    crashing = [stories.crash_loop("checkout", image, CHECKOUT, age=52 * timedelta(minutes=1)) for _ in range(2)]
    manifest = deployment_manifest("shop", "checkout", checkout, 2)
    manifest["spec"]["strategy"] = {"type": "Recreate"}
    deployment(build, manifest, crashing, age=40 * _DAY, rolled=timedelta(minutes=52), before=(old, []))
    service(build, "shop", "checkout", {"app.kubernetes.io/name": "checkout"})
    build.add(
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "checkout", "namespace": "shop"},
            "data": {"LOG_LEVEL": "info", "ORDERS_DB": "orders-db.shop.svc:5432", "PAYMENTS_URL": ""},
        },
        40 * _DAY,
    )

    recommendations = _web("recommendations", "1.9.0-rc1")
    missing = stories.image_missing("recommendations", recommendations["image"], age=47 * timedelta(minutes=1))
    before = (f"{_REGISTRY}/recommendations:1.8.4", [stories.healthy(HEALTHY), stories.healthy(HEALTHY)])
    manifest = deployment_manifest("shop", "recommendations", recommendations, 2)
    deployment(build, manifest, [missing], age=31 * _DAY, rolled=timedelta(minutes=47), before=before)
    service(build, "shop", "recommendations", {"app.kubernetes.io/name": "recommendations"})

    catalog = _web("catalog", "5.0.1")
    probe = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    failing = [stories.unready("catalog", catalog["image"], probe, CATALOG, age=3 * _HOUR) for _ in range(2)]
    deployment(build, deployment_manifest("shop", "catalog", catalog, 2), failing, age=3 * _HOUR)
    service(build, "shop", "catalog", {"app.kubernetes.io/name": "catalog"})

    _steady(build, "promotions", "0.7.2", 1)
    service(build, "shop", "promo", {"app.kubernetes.io/name": "promotion"}, age=2 * _DAY)

    loyalty = _web("loyalty", "1.0.0", envFrom=[{"configMapRef": {"name": "loyalty-settings"}}])
    waiting = stories.config_missing("loyalty", loyalty["image"], "loyalty-settings", age=38 * timedelta(minutes=1))
    deployment(build, deployment_manifest("shop", "loyalty", loyalty, 1), [waiting], age=timedelta(minutes=38))

    migrate = container("migrate", f"{_REGISTRY}/orders-migrate:12", args=["--to", "0042_add_refunds"])
    tried = [stories.failed_once("migrate", migrate["image"], MIGRATION, age=2 * _HOUR) for _ in range(3)]
    job(build, "shop", "migrate-orders-0042", migrate, tried, age=2 * _HOUR, backoff=2)


def _west(build: Builder) -> None:
    """Break west: a pod too large for every node, a quota reached, a claim nobody serves, too low a memory limit."""
    _steady(build, "checkout", "3.1.0", 2)
    _steady(build, "catalog", "5.0.0", 2)

    search = _web("search", "8.15.0", resources={"requests": {"cpu": "16", "memory": "8Gi"}})
    count = len(build.nodes)
    words = (
        f"0/{count} nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). no new claims to "
        f"deallocate, preemption: 0/{count} nodes are available: {count} Preemption is not helpful for scheduling."
    )
    pending = stories.unschedulable(words, age=5 * _HOUR)
    deployment(build, deployment_manifest("shop", "search", search, 1), [pending], age=5 * _HOUR)
    service(build, "shop", "search", {"app.kubernetes.io/name": "search"})

    resizer = container(
        "image-resizer", f"{_REGISTRY}/image-resizer:4.4.0", resources={"limits": {"cpu": "500m", "memory": "64Mi"}}
    )
    killed = stories.out_of_memory("image-resizer", resizer["image"], RESIZER, age=2 * _HOUR)
    deployment(
        build, deployment_manifest("shop", "image-resizer", resizer, 1), [killed], age=12 * _DAY, rolled=2 * _HOUR
    )

    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}}
    storage |= {"storageClassName": "fast-ssd"}
    words = f"0/{count} nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    waiting = stories.unschedulable(words, age=26 * _HOUR)
    template = container("warehouse", f"{_REGISTRY}/warehouse:2.2.0", resources=_SMALL)
    stateful_set(build, "shop", "warehouse", template, [waiting], storage=storage, age=26 * _HOUR)
    unbound = claim(build, "shop", "data-warehouse-0", storage, age=26 * _HOUR)
    words = 'storageclass.storage.k8s.io "fast-ssd" not found'
    provisioning = Event(
        "Warning", "ProvisioningFailed", words, "persistentvolume-controller", 26 * _HOUR, timedelta(seconds=12), 6240
    )
    build.event(unbound, provisioning)

    quota(
        build,
        "reports",
        "reports-quota",
        {"pods": "2", "requests.memory": "1Gi"},
        {"pods": "2", "requests.memory": "256Mi"},
    )
    exporter = _web("exporter", "1.1.0")
    refused = (
        'pods "exporter-z5h7k" is forbidden: exceeded quota: reports-quota, requested: pods=1, used: pods=2, '
        "limited: pods=2"
    )
    runs = [stories.healthy(HEALTHY), stories.healthy(HEALTHY)]
    manifest = deployment_manifest("reports", "exporter", exporter, 4)
    deployment(build, manifest, runs, age=4 * _HOUR, refused=refused)


_BREAK: dict[str, Callable[[Builder], None]] = {"east": _east, "west": _west}


def shop(name: str, now: datetime) -> Builder:
    """Make the objects and logs of `east` or `west` as they are at this moment."""
    nodes = tuple(
        f"{name}-{index}" for index in (("control-plane", "1", "2") if name == "east" else ("control-plane", "1"))
    )
    build = Builder(now, nodes)
    infrastructure(build)
    for part, tag, count in (("storefront", "7.3.1", 3), ("cart", "2.6.0", 2)):
        _steady(build, part, tag, count)
    _databases(build)
    backups(build)
    _nightly(build)
    template = container("kube-proxy", "registry.k8s.io/kube-proxy:v1.36.3")
    daemon_set(build, "kube-system", "kube-proxy", template, stories.healthy("", started=60 * _DAY), age=60 * _DAY)
    _BREAK[name](build)
    return build


def furnish(cluster: EmbeddedCluster, name: str) -> None:
    """Put the shop of `east` or `west` into a cluster, and and its pods' logs."""
    now = datetime.now(UTC)
    build = shop(name, now)
    written = {"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Service", "ConfigMap", "Ingress"}
    for item in build.items:
        cluster.seed([item], "kubectl-client-side-apply" if item["kind"] in written else None)
    for namespace in ("default", "kube-system", "shop", "reports"):
        cluster.seed([_root_ca(cluster, namespace, build)])
    cluster.serve_metrics()
    cluster.lose_image(f"{_REGISTRY}/recommendations:1.9.0-rc1")
    cluster.crash(Crash(f"{_REGISTRY}/checkout:3.2.0", "shop", "checkout", "PAYMENTS_URL", CHECKOUT))
    for log in build.logs:
        lines = log.text.count("\n")
        step = timedelta(milliseconds=700)
        start = now - log.ended - step * lines
        cluster.logs.write(
            log.namespace, log.pod, log.container, log.text, previous=log.previous, start=start, step=step
        )


def _root_ca(cluster: EmbeddedCluster, namespace: str, build: Builder) -> Obj:
    words = (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "name": "kube-root-ca.crt",
            "namespace": namespace,
            "creationTimestamp": build.at(60 * _DAY),
            "annotations": {"kubernetes.io/description": words},
        },
        "data": {"ca.crt": cluster.ca_pem.decode()},
    }


async def start_world() -> tuple[EmbeddedCluster, EmbeddedCluster]:
    """Start `east` and `west`, furnished; the caller stops them."""
    east, west = EmbeddedCluster("east"), EmbeddedCluster("west")
    for cluster in (east, west):
        furnish(cluster, cluster.name)
        await cluster.start()
    return east, west

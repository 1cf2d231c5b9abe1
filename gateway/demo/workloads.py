"""The boundary between a workload's manifest and everything its controllers would have made of it.

Counts and conditions in a workload's status follow from the stories of its pods.
"""

from collections.abc import Sequence
from datetime import timedelta

from gateway.demo.builder import Builder, Event, PodStory, owned_by, suffix
from gateway.demo.wire import Obj


def container(name: str, image: str, **more: object) -> Obj:
    """Return a container."""
    return {"name": name, "image": image, **more}


def deployment_manifest(namespace: str, name: str, containers: Obj, replicas: int, **pod: object) -> Obj:
    """Return a Deployment of one container, as a person would have written it."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [containers], **pod}},
        },
    }


def deployment(
    build: Builder,
    manifest: Obj,
    stories: Sequence[PodStory],
    *,
    age: timedelta,
    rolled: timedelta | None = None,
    before: tuple[str, Sequence[PodStory]] | None = None,
    refused: str = "",
) -> Obj:
    """Make a Deployment, its ReplicaSets and pods.

    `rolled` is how long ago the newest revision came; `before` gives the image and pods of the revision it replaces;
    `refused` is why the ReplicaSet may not create the rest of its pods.
    """
    revision = 2 if before else 1
    manifest["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = str(revision)
    manifest["metadata"]["generation"] = revision
    item = build.add(manifest, age)
    rolled = rolled or age
    older: Sequence[PodStory] = ()
    if before:
        image, older = before
        _replica_set(build, item, older, revision=1, age=age, image=image, wanted=len(older))
    wanted = len(stories) if before else item["spec"]["replicas"]
    newest = _replica_set(build, item, stories, revision=revision, age=rolled, wanted=wanted, refused=refused)
    item["status"] = _status(build, item, newest, stories, older, rolled=rolled, refused=refused)
    grew = f"Scaled up replica set {newest['metadata']['name']} from 0 to {wanted}"
    build.event(item, Event("Normal", "ScalingReplicaSet", grew, "deployment-controller", rolled))
    return item


def _status(
    build: Builder,
    item: Obj,
    newest: Obj,
    stories: Sequence[PodStory],
    older: Sequence[PodStory],
    *,
    rolled: timedelta,
    refused: str,
) -> Obj:
    ready = sum(story.ready for story in (*stories, *older))
    total, replicas = len(stories) + len(older), item["spec"]["replicas"]
    available = ready >= replicas - max(1, replicas // 4) if replicas > 3 else ready >= replicas
    stuck = (not all(story.ready for story in stories) or bool(refused)) and rolled > timedelta(minutes=10)
    moment, name = build.at(rolled), newest["metadata"]["name"]
    conditions = [
        _condition("Available", moment, True, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if available
        else _condition(
            "Available", moment, False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        )
    ]
    if refused:
        conditions.append(_condition("ReplicaFailure", moment, True, "FailedCreate", refused))
    if stuck:
        words = f'ReplicaSet "{name}" has timed out progressing.'
        conditions.append(_condition("Progressing", moment, False, "ProgressDeadlineExceeded", words))
    elif all(story.ready for story in stories):
        words = f'ReplicaSet "{name}" has successfully progressed.'
        conditions.append(_condition("Progressing", moment, True, "NewReplicaSetAvailable", words))
    else:
        words = f'ReplicaSet "{name}" is progressing.'
        conditions.append(_condition("Progressing", moment, True, "ReplicaSetUpdated", words))
    counts = {
        "replicas": total,
        "updatedReplicas": len(stories),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(replicas, total) - ready,
    }
    observed = {"observedGeneration": item["metadata"]["generation"], "terminatingReplicas": 0}
    return {**observed, **{key: value for key, value in counts.items() if value}, "conditions": conditions}


def _condition(kind: str, moment: str, status: bool, reason: str, message: str) -> Obj:  # noqa: FBT001
    return {
        "type": kind,
        "status": str(status),
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def _replica_set(
    build: Builder,
    owner: Obj,
    stories: Sequence[PodStory],
    *,
    revision: int,
    age: timedelta,
    wanted: int,
    image: str = "",
    refused: str = "",
) -> Obj:
    metadata, spec = owner["metadata"], owner["spec"]
    hashed = suffix(f"{metadata['namespace']}/{metadata['name']}/{revision}", 10)
    template = {**spec["template"], "spec": {**spec["template"]["spec"]}}
    if image:
        first = {**template["spec"]["containers"][0], "image": image}
        template["spec"]["containers"] = [first]
    labels = {**template["metadata"]["labels"], "pod-template-hash": hashed}
    template["metadata"] = {**template["metadata"], "labels": labels}
    name = f"{metadata['name']}-{hashed}"
    ready = sum(story.ready for story in stories)
    counts = {"replicas": len(stories), "fullyLabeledReplicas": len(stories), "readyReplicas": ready}
    counts = {key: value for key, value in {**counts, "availableReplicas": ready}.items() if value}
    status: Obj = {"replicas": 0, **counts, "observedGeneration": 1, "terminatingReplicas": 0}
    if refused:
        status["conditions"] = [
            {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": build.at(age),
                "reason": "FailedCreate",
                "message": refused,
            }
        ]
    item = build.add(
        {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {
                    "deployment.kubernetes.io/desired-replicas": str(spec["replicas"]),
                    "deployment.kubernetes.io/max-replicas": str(spec["replicas"] + 1),
                    "deployment.kubernetes.io/revision": str(revision),
                },
                "ownerReferences": [owned_by(owner)],
            },
            "spec": {
                "replicas": wanted,
                "selector": {"matchLabels": {**spec["selector"]["matchLabels"], "pod-template-hash": hashed}},
                "template": template,
            },
            "status": status,
        },
        age,
    )
    for index, story in enumerate(stories):
        pod = f"{name}-{suffix(f'{name}/{index}', 5)}"
        build.pod(template, pod, item, story, age)
        words = f"Created pod: {pod}"
        build.event(item, Event("Normal", "SuccessfulCreate", words, "replicaset-controller", age))
    if refused:
        words, latest = f"Error creating: {refused}", timedelta(minutes=3)
        build.event(item, Event("Warning", "FailedCreate", words, "replicaset-controller", age, latest, count=19))
    return item


def stateful_set(
    build: Builder,
    namespace: str,
    name: str,
    template: Obj,
    stories: Sequence[PodStory],
    *,
    storage: Obj,
    age: timedelta,
) -> Obj:
    """Make a StatefulSet with one claim per pod (their status is the caller's to set) and its pods."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
    mount = {"name": "data", "mountPath": "/var/lib/data"}
    spec = {"containers": [{**template, "volumeMounts": [mount]}]}
    ready = sum(story.ready for story in stories)
    revision = f"{name}-{suffix(name, 10)}"
    counts = {"readyReplicas": ready, "currentReplicas": len(stories), "updatedReplicas": len(stories)}
    item = build.add(
        {
            "kind": "StatefulSet",
            "apiVersion": "apps/v1",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
            "spec": {
                "replicas": len(stories),
                "serviceName": name,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": storage}],
            },
            "status": {
                "observedGeneration": 1,
                "replicas": len(stories),
                **{key: value for key, value in counts.items() if value},
                "availableReplicas": ready,
                "currentRevision": revision,
                "updateRevision": revision,
                "collisionCount": 0,
            },
        },
        age,
    )
    for index, story in enumerate(stories):
        claim = f"data-{name}-{index}"
        words = f"Create Claim {claim} Pod {name}-{index} in StatefulSet {name} success"
        build.event(item, Event("Normal", "SuccessfulCreate", words, "statefulset-controller", age))
        words = f"Create Pod {name}-{index} in StatefulSet {name} successful"
        build.event(item, Event("Normal", "SuccessfulCreate", words, "statefulset-controller", age))
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
        ours = {"apps.kubernetes.io/pod-index": str(index), "controller-revision-hash": revision}
        ours["statefulset.kubernetes.io/pod-name"] = f"{name}-{index}"
        made = {"metadata": {"labels": {**labels, **ours}}, "spec": {**spec, "volumes": [volume]}}
        build.pod(made, f"{name}-{index}", item, story, age)
    return item


def daemon_set(build: Builder, namespace: str, name: str, template: Obj, story: PodStory, *, age: timedelta) -> Obj:
    """Make a DaemonSet with a pod on every node."""
    labels = {"k8s-app": name}
    count = len(build.nodes)
    fields = ("currentNumberScheduled", "desiredNumberScheduled", "numberReady", "updatedNumberScheduled")
    item = build.add(
        {
            "kind": "DaemonSet",
            "apiVersion": "apps/v1",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [template]}},
            },
            "status": {
                **dict.fromkeys((*fields, "numberAvailable"), count),
                "numberMisscheduled": 0,
                "observedGeneration": 1,
            },
        },
        age,
    )
    for node in build.nodes:
        only = Builder(build.now, (node,), build.items, build.logs)
        only.pod(item["spec"]["template"], f"{name}-{suffix(f'{name}/{node}', 5)}", item, story, age)
    return item


def job(
    build: Builder,
    namespace: str,
    name: str,
    template: Obj,
    stories: Sequence[PodStory],
    *,
    age: timedelta,
    backoff: int = 6,
) -> Obj:
    """Make a Job with the pods it tried; it failed for good if none of them succeeded."""
    done = any(story.phase == "Succeeded" for story in stories)
    labels = {"app.kubernetes.io/part-of": "shop"}
    item = build.add(
        {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
            "spec": {
                "backoffLimit": backoff,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"restartPolicy": "Never", "containers": [template]},
                },
            },
            "status": {},
        },
        age,
    )
    ended = build.at(age - timedelta(minutes=2))
    moment = {"lastProbeTime": ended, "lastTransitionTime": ended}
    words = "Reached expected number of succeeded pods" if done else "Job has reached the specified backoff limit"
    why = {"reason": "CompletionsReached" if done else "BackoffLimitExceeded", "message": words}
    kinds = ("SuccessCriteriaMet", "Complete") if done else ("FailureTarget", "Failed")
    item["status"] = {
        "startTime": build.at(age),
        "conditions": [{"type": kind, "status": "True", **moment, **why} for kind in kinds],
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
        **({"succeeded": 1, "completionTime": ended} if done else {"failed": len(stories)}),
    }
    for index, story in enumerate(stories):
        pod = f"{name}-{suffix(f'{name}/{index}', 5)}"
        build.pod(item["spec"]["template"], pod, item, story, age - timedelta(seconds=20 * index))
        made = Event("Normal", "SuccessfulCreate", f"Created pod: {pod}", "job-controller", age)
        build.event(item, made)
    closing = Event("Normal", "Completed", "Job completed", "job-controller", age - timedelta(minutes=2))
    if not done:
        closing = Event("Warning", "BackoffLimitExceeded", words, "job-controller", age - timedelta(minutes=2))
    build.event(item, closing)
    return item

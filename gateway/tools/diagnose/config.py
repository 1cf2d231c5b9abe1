"""Rules about what a container is configured with: ConfigMaps and keys, mounts, references, the user it runs as."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.tools.diagnose.facts import CONFIG_MAPS, PODS, Facts, Ref
from gateway.tools.diagnose.logs import plain
from gateway.tools.diagnose.objects import Obj, dig
from gateway.tools.diagnose.pods import containers, live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Step, change, listed, quoted, read

_WAITS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff", "RunContainerError"}
)


@dataclass(frozen=True, slots=True)
class _Said:
    """What the kubelet says about a pod that it can't set up."""

    ref: Ref
    pod: Obj
    words: str
    evidence: Evidence


def _said(facts: Facts) -> Iterator[_Said]:
    for ref, pod in live_pods(facts):
        for container in containers(ref, pod):
            message = plain(str(container.ended.get("message") or container.waiting_message))
            if container.waiting in _WAITS and message:
                source = f"status of {ref}, {container.word}"
                yield _Said(ref, pod, message, Evidence(source, f"{container.waiting}: {message}"))
        if dig(pod, "status", "phase") == "Pending" and dig(pod, "spec", "nodeName"):
            for event in facts.events_of(ref, "FailedMount", "FailedCreatePodSandBox", "FailedAttachVolume")[:3]:
                yield _Said(ref, pod, event.message, quoted(event))


def _found(facts: Facts, item: _Said, cause: str, *steps: Step) -> Found:
    owner = facts.owner(item.ref)
    return Found(owner, f"{owner} {cause}", (item.evidence,), steps)


def _map_missing(facts: Facts, item: _Said) -> Found | None:
    match = re.search(r'configmap "([^"]+)" not found', item.words, re.IGNORECASE)
    if match is None:
        return None
    ref = Ref(CONFIG_MAPS, item.ref.namespace, match[1])
    step = change(f"create the {ref} (resource_apply), or correct the name where the pod template refers to it")
    return _found(facts, item, f"can't start: {ref} does not exist", step, listed(CONFIG_MAPS, ref.namespace))


def _key_missing(facts: Facts, item: _Said) -> Found | None:
    match = re.search(r"couldn't find key (\S+) in ConfigMap ([^/\s]+)/(\S+)", item.words) or re.search(
        r"(?:references non-existent config key: )(\S+)()()", item.words
    )
    if match is None:
        return None
    key, name = match[1].strip('"'), match[3]
    if not name:
        name = _mounting(item.pod, key)
        if name is None:
            return None
    ref = Ref(CONFIG_MAPS, item.ref.namespace, name)
    keys = dig(facts.objects.get(ref), "data", default=None)
    has = f"; it has {', '.join(sorted(keys)[:8]) or 'none'}" if keys is not None else ""
    step = change(f"add the key {key} to the {ref}, or correct the key in the pod template")
    return _found(facts, item, f"can't start: {ref} has no key {key}{has}", step, read(ref))


def _mounting(pod: Obj, key: str) -> str | None:
    """Return the ConfigMap of which the pod mounts this key; None where it is a Secret's."""
    for volume in dig(pod, "spec", "volumes", default=()):
        sources: list[Any] = [volume, *dig(volume, "projected", "sources", default=())]
        for source in sources:
            part = source.get("configMap") or {}
            if any(each.get("key") == key for each in part.get("items") or ()):
                return str(part.get("name"))
    return None


def _secret_missing(facts: Facts, item: _Said) -> Found | None:
    match = re.search(r'secret "([^"]+)" not found|couldn\'t find key (\S+) in Secret ([^/\s]+)/(\S+)', item.words)
    match = match or re.search(r"references non-existent secret key: (\S+)", item.words)
    if match is None:
        return None
    groups = (*match.groups(), None, None, None)
    what = f'secret "{groups[0]}" does not exist' if "not found" in match[0] else match[0]
    step = change("have somebody who may create the Secret or its key, or correct the name in the pod template")
    return _found(facts, item, f"can't start: {what} (said by the kubelet; Secrets are not read here)", step)


def _as_root(facts: Facts, item: _Said) -> Found | None:
    if "runAsNonRoot" not in item.words:
        return None
    step = change("set securityContext.runAsUser to a number that is not 0, or use an image with such a user")
    return _found(facts, item, "can't start: runAsNonRoot is set and the image runs as root", step)


def _bad_mount(facts: Facts, item: _Said) -> Found | None:
    match = re.search(
        r"(hostPath type check failed|not a directory|Are you trying to mount|failed to (prepare|create) subPath|"
        r"error mounting)[^\n]*",
        item.words,
    )
    if match is None:
        return None
    step = change("correct mountPath, subPath or hostPath.type in the pod template")
    return _found(facts, item, f"can't start: a mount does not fit: {match[0][:180]}", step, read(item.ref))


def _no_claim(facts: Facts, item: _Said) -> Found | None:
    match = re.search(r'persistentvolumeclaim "([^"]+)" not found', item.words)
    if match is None:
        return None
    step = change("create the volume claim, or correct claimName in the pod template")
    return _found(facts, item, f"can't start: volume claim {item.ref.namespace}/{match[1]} does not exist", step)


def _multi_attach(facts: Facts, item: _Said) -> Found | None:
    if "Multi-Attach error" not in item.words:
        return None
    step = change("use the strategy Recreate for volumes of mode ReadWriteOnce, or delete the pod that still holds it")
    return _found(facts, item, "can't start: its volume is still attached to another node (Multi-Attach error)", step)


def _sandbox(facts: Facts, item: _Said) -> Found | None:
    if "sandbox" not in item.words.lower():
        return None
    said = item.words.rpartition("desc = ")[2] or item.words
    node = dig(item.pod, "spec", "nodeName", default="")
    step = Step("diagnose", {"resource": "nodes", "name": node})
    return _found(facts, item, f"can't start: the node {node} can't set up the pod's network: {said[:160]}", step)


def _other(pattern: str, cause: str) -> Callable[[Facts, _Said], Found | None]:
    search = re.compile(pattern).search
    return lambda facts, item: (
        _found(facts, item, f"{cause}: {item.words[:200]}", read(Ref(PODS, item.ref.namespace, item.ref.name)))
        if search(f"{item.evidence.source} {item.evidence.text}")
        else None
    )


_SAYS: Final = "The container's waiting message or a FailedMount event says "

FAMILIES: Final = (
    Family(
        "Configuration",
        _said,
        (
            Rule(
                "config-map-missing",
                "A ConfigMap that the pod refers to does not exist.",
                f"{_SAYS}so.",
                "Create it or correct its name.",
                _map_missing,
            ),
            Rule(
                "config-key-missing",
                "A ConfigMap lacks a key that the pod refers to.",
                f"{_SAYS}so; the keys it has are named.",
                "Add the key or correct the reference.",
                _key_missing,
            ),
            Rule(
                "config-secret-missing",
                "A Secret, or a key of it, that the pod refers to does not exist.",
                f"{_SAYS}so. Secrets themselves are never looked up.",
                "Have somebody create it, or correct its name.",
                _secret_missing,
            ),
            Rule(
                "config-runs-as-root",
                "The pod must not run as root, and its image does.",
                f"{_SAYS}`runAsNonRoot`.",
                "Set runAsUser, or use another image.",
                _as_root,
            ),
            Rule(
                "config-claim-missing",
                "A volume claim that the pod mounts does not exist.",
                f"{_SAYS}so.",
                "Create it or correct its name.",
                _no_claim,
            ),
            Rule(
                "config-multi-attach",
                "A volume that only one node may use is still attached to another.",
                f"{_SAYS}`Multi-Attach error`.",
                "End the pod that holds it; use the strategy Recreate.",
                _multi_attach,
            ),
            Rule(
                "config-mount",
                "A mount does not fit what is mounted.",
                f"{_SAYS}that a type check, a subPath or the mount itself failed.",
                "Correct mountPath, subPath or the hostPath's type.",
                _bad_mount,
            ),
            Rule(
                "config-sandbox",
                "The node can't set up the pod's sandbox, mostly its network.",
                "A FailedCreatePodSandBox event, quoted.",
                "Look at the node and its network plugin.",
                _sandbox,
            ),
            Rule(
                "config-volume",
                "A volume can't be mounted or attached for another reason.",
                "A FailedMount or FailedAttachVolume event, quoted.",
                "Read the quoted message.",
                _other("FailedMount|FailedAttachVolume", "can't start: a volume can't be mounted"),
            ),
            Rule(
                "config-other",
                "The container's configuration can't be used for another reason.",
                "It waits with CreateContainerConfigError; the message is quoted.",
                "Read the quoted message.",
                _other("CreateContainerConfigError", "can't start: its configuration is refused"),
            ),
        ),
    ),
)

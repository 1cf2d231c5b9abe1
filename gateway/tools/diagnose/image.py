"""Rules about images that don't arrive: names, tags, credentials, rate limits, registries, pull policy."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from gateway.tools.diagnose.facts import Facts
from gateway.tools.diagnose.pods import Container, containers, live_pods
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, Step, change, quoted

_WAITS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)


def _waiting(facts: Facts) -> Iterator[Container]:
    for ref, pod in live_pods(facts):
        yield from (container for container in containers(ref, pod) if container.waiting in _WAITS)


def _words(facts: Facts, container: Container) -> str:
    events = facts.events_of(container.ref, "Failed", "BackOff", "InspectFailed", "ErrImageNeverPull")
    told = [event.message for event in events if event.container in {"", container.name}]
    return "\n".join((container.waiting_message, *told))


def _rule(  # noqa: PLR0917  # a row of the table below
    id_: str,
    means: str,
    known: str,
    do: str,
    pattern: str,
    cause: Callable[[str], str],
    step: Callable[[Container], Step],
) -> Rule[Container]:
    """Make a rule of what the kubelet or the registry says."""
    search = re.compile(pattern, re.IGNORECASE).search

    def find(facts: Facts, container: Container) -> Found | None:
        words = _words(facts, container)
        if not search(f"{container.waiting}\n{words}"):
            return None
        image = str(container.spec.get("image"))
        evidence = [
            Evidence(
                f"status of {container.ref}, {container.word}",
                f"{container.waiting}: {container.waiting_message.rpartition('ErrImagePull: ')[2]}",
            )
        ]
        failed = [e for e in facts.events_of(container.ref, "Failed") if image in e.message and search(e.message)]
        if not search(f"{container.waiting}: {container.waiting_message}") and failed:
            evidence.append(quoted(failed[0]))
        owner = facts.owner(container.ref)
        return Found(owner, f"{container.word} of {owner} {cause(image)}", tuple(evidence), (step(container),))

    return Rule(id_, means, known, do, find)


def _image_step(text: str) -> Callable[[Container], Step]:
    return lambda container: change(f"{text} containers[{container.name}].image, now {container.spec.get('image')}")


_SAID: Final = "The container waits for its image, and the kubelet quotes "

FAMILIES: Final = (
    Family(
        "Images",
        _waiting,
        (
            _rule(
                "image-name-invalid",
                "The image's name is no valid reference.",
                "The container waits with InvalidImageName.",
                "Correct the spelling: lower case, one tag.",
                "InvalidImageName|invalid reference format|couldn't parse image",
                lambda image: f"has an invalid image name: {image!r}",
                _image_step("correct"),
            ),
            _rule(
                "image-never-pulled",
                "The image is not on the node and its pull policy is Never.",
                "The container waits with ErrImageNeverPull.",
                "Load the image onto the nodes, or allow pulling.",
                "ErrImageNeverPull|pull policy of Never",
                lambda image: (
                    f"needs image {image}, which is not on its node and may not be pulled (imagePullPolicy: Never)"
                ),
                lambda c: change(
                    f"set containers[{c.name}].imagePullPolicy to IfNotPresent, or load the image on the node"
                ),
            ),
            _rule(
                "image-rate-limit",
                "The registry limits how often may be pulled.",
                f"{_SAID}`toomanyrequests` or status 429.",
                "Wait, log in with imagePullSecrets, or use a mirror.",
                r"toomanyrequests|too many requests|\b429\b|rate limit",
                lambda image: f"can't pull {image}: the registry's rate limit is reached",
                lambda _: change("add imagePullSecrets of an account, or use a mirror of the image"),
            ),
            _rule(
                "image-platform",
                "The image has no variant for the node's architecture.",
                f"{_SAID}`no match for platform`.",
                "Build the image for the node's platform.",
                "no match for platform|does not match the specified platform",
                lambda image: f"can't run {image}: it has no variant for the node's platform",
                _image_step("use a multi-platform image in"),
            ),
            _rule(
                "image-not-found",
                "The image or its tag does not exist.",
                f"{_SAID}`not found` or `manifest unknown`.",
                "Correct the tag or push the image.",
                r"manifest unknown|(:|desc = .*) ?not found|does not exist(?!.*(denied|authorization))|code = NotFound",
                lambda image: f"can't pull {image}: the registry has no such image or tag",
                _image_step("correct"),
            ),
            _rule(
                "image-credentials",
                "The registry refuses access.",
                f"{_SAID}401, 403, `unauthorized` or `denied`.",
                "Name valid imagePullSecrets; registries also say this of repositories that don't exist.",
                r"unauthorized|\b40[13]\b|forbidden|denied|no basic auth|authorization failed|authentication required",
                lambda image: f"can't pull {image}: the registry refuses access",
                lambda _: change(
                    "set imagePullSecrets with valid credentials on the pod template, or correct the repository"
                ),
            ),
            _rule(
                "image-certificate",
                "The registry's certificate is not trusted by the node.",
                f"{_SAID}`x509` or a TLS failure.",
                "Have the node's container runtime trust the registry's CA.",
                r"x509|tls: |server gave HTTP response to HTTPS",
                lambda image: f"can't pull {image}: the node does not trust the registry's TLS certificate",
                _image_step("let the node's runtime trust the registry, or change"),
            ),
            _rule(
                "image-registry-unreachable",
                "The registry can't be reached from the node.",
                f"{_SAID}a failed look-up, a refused connection or a time-out.",
                "Correct the registry's name, or the node's DNS, proxy and firewall.",
                r"no such host|connection refused|i/o timeout|no route to host|network is unreachable|dial tcp|"
                r"server misbehaving|deadline exceeded|lookup |503|502",
                lambda image: (
                    f"can't pull {image}: the registry {image.partition('/')[0]} can't be reached from the node"
                ),
                _image_step("correct the registry in"),
            ),
            _rule(
                "image-pull",
                "The image can't be pulled for another reason.",
                "The container waits with ErrImagePull or ImagePullBackOff.",
                "Read the quoted message.",
                "",
                lambda image: f"can't pull {image}",
                _image_step("check"),
            ),
        ),
    ),
)

"""Rules about containers that end: exit codes, signals, memory, commands, settings, permissions, dependencies."""

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.tools.diagnose.endings import all_words, finding, log_lines, log_step, troubled
from gateway.tools.diagnose.facts import CONFIG_MAPS, JOBS, PODS, Facts, Ref
from gateway.tools.diagnose.logs import UNREACHED, loudest, plain
from gateway.tools.diagnose.objects import dig
from gateway.tools.diagnose.peers import limiting, peer_of
from gateway.tools.diagnose.pods import Container
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, diagnose, quotation, read

_FIRST_SIGNAL: Final = 128
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126

_NO_COMMAND: Final = re.compile(
    r'exec:? "?(?P<what>[^":]*)"?:? .*(executable file not found|no such file or directory)|no command specified',
    re.IGNORECASE,
).search
_NO_RIGHT: Final = re.compile(
    r"permission denied|operation not permitted|read-only file system|EACCES|EPERM", re.IGNORECASE
).search
_NO_SETTING: Final = re.compile(
    r"(?P<a>[A-Z][A-Z0-9]*_[A-Z0-9_]+)\b.{0,40}\b(empty|required|missing|not set|unset|undefined|not defined|must)|"
    r"(empty|required|missing|not set|unset|undefined|KeyError).{0,60}?\b(?P<b>[A-Z][A-Z0-9]*_[A-Z0-9_]+)\b|"
    r"environment variable\W+(?P<c>[A-Za-z_][A-Za-z0-9_]*)|KeyError: '(?P<d>[A-Z][A-Z0-9_]*)'"
).search
_NO_FILE: Final = re.compile(
    r"(?P<file>/[\w./-]*\.(ya?ml|json|toml|conf|cfg|ini|properties|env|pem|crt|key))\b.*"
    r"(no such file|not found|cannot (open|find)|can't open|does not exist)|"
    r"(can't open|cannot open|no such file or directory|not found).{0,20}?"
    r"(?P<other>/[\w./-]*\.(ya?ml|json|toml|conf|cfg|ini|properties|env|pem|crt|key))",
    re.IGNORECASE,
).search
_IN_USE: Final = re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE).search
_NO_SPACE: Final = re.compile(r"no space left on device|ENOSPC|disk quota exceeded", re.IGNORECASE).search
_OTHER_MACHINE: Final = re.compile(r"exec format error", re.IGNORECASE).search


def _out_of_memory(facts: Facts, container: Container) -> Found | None:
    if container.ended.get("reason") != "OOMKilled":
        return None
    limit = dig(container.spec, "resources", "limits", "memory")
    cause = (
        f"is killed for memory: its limit is {limit}" if limit else "is killed for memory, without a limit of its own"
    )
    step = change(f"raise containers[{container.name}].resources.limits.memory above {limit or 'what it needs'}")
    return finding(facts, container, cause, step)


def _other_machine(facts: Facts, container: Container) -> Found | None:
    if not _OTHER_MACHINE(all_words(facts, container)):
        return None
    step = change(f"build the image {container.spec.get('image')} for the node's architecture, or select other nodes")
    return finding(facts, container, "can't start: its program is built for another architecture", step)


def _no_command(facts: Facts, container: Container) -> Found | None:
    words = all_words(facts, container)
    match = _NO_COMMAND(words)
    if not match and container.ended.get("exitCode") != _NOT_FOUND:
        return None
    typed = match["what"] if match and match["what"] else ""
    command = typed or " ".join(container.spec.get("command") or container.spec.get("args") or ())[:80]
    cause = f"can't start: the command {command!r} is not in its image {container.spec.get('image')}"
    return finding(
        facts, container, cause, change(f"correct containers[{container.name}].command or use another image")
    )


def _no_setting(facts: Facts, container: Container) -> Found | None:
    for line in reversed(all_words(facts, container).splitlines()):
        if match := _NO_SETTING(line):
            name = first(match.groupdict())
            if not name:
                continue
            where, evidence, given = _where_set(facts, container, name)
            source = _sources(container)
            if given:
                cause = f"ended because the variable {name} was missing or empty, which is set by now{where}"
                step = change("restart the pods that have not started since: they read it when they start")
            else:
                cause = f"ends because the variable {name} is missing or empty{where}"
                step = change(f"set {name} in {source[0] if source else f'containers[{container.name}].env'}")
            found = finding(facts, container, cause)
            reads = tuple(read(ref) for ref in source[:1])
            return Found(found.subject, found.cause, (*found.evidence, *evidence), (step, *reads), (), found.severity)
    return None


def first(groups: dict[str, str | None]) -> str:
    """Return the first group that matched."""
    return next((value for value in groups.values() if value), "")


def _sources(container: Container) -> list[Ref]:
    names = [dig(source, "configMapRef", "name") for source in container.spec.get("envFrom") or ()]
    names += [dig(each, "valueFrom", "configMapKeyRef", "name") for each in container.spec.get("env") or ()]
    return [Ref(CONFIG_MAPS, container.ref.namespace, name) for name in dict.fromkeys(names) if name]


def _where_set(facts: Facts, container: Container, name: str) -> tuple[str, tuple[Evidence, ...], bool]:
    """Return where the variable comes from, what stands there, and whether a ConfigMap has a value for it by now."""
    for each in container.spec.get("env") or ():
        if each.get("name") == name and "valueFrom" not in each:
            return "", (Evidence(f"spec of {container.ref}", f"env {name}={each.get('value', '')!r}"),), False
    for ref in _sources(container):
        data = dig(facts.objects.get(ref), "data", default=None)
        if data is not None:
            said = f'{name}: "{data[name]}"' if name in data else f"has no key {name}"
            return f" ({ref})", (Evidence(str(ref), said),), bool(data.get(name))
    return "", (), False


def _no_file(facts: Facts, container: Container) -> Found | None:
    match = _NO_FILE(all_words(facts, container))
    if match is None:
        return None
    step = change(
        f"mount what provides {match['file'] or match['other']} into containers[{container.name}], or correct the path"
    )
    return finding(facts, container, f"ends because the file {match['file'] or match['other']} is not there", step)


def _no_right(facts: Facts, container: Container) -> Found | None:
    match = _NO_RIGHT(all_words(facts, container))
    if not match and container.ended.get("exitCode") != _NOT_EXECUTABLE:
        return None
    context = {**dig(container.pod, "spec", "securityContext", default={}), **container.spec.get("securityContext", {})}
    user = f" as user {context['runAsUser']}" if "runAsUser" in context else ""
    read_only = " with a read-only root file system" if context.get("readOnlyRootFilesystem") else ""
    cause = f"lacks a permission: {match[0] if match else 'its command is not executable'}{user}{read_only}"
    step = change(
        f"give containers[{container.name}] what it writes to (an emptyDir), or correct runAsUser, fsGroup, file modes"
    )
    return finding(facts, container, cause, step)


def _no_space(facts: Facts, container: Container) -> Found | None:
    if not _NO_SPACE(all_words(facts, container)):
        return None
    mounts = [m["mountPath"] for m in container.spec.get("volumeMounts") or () if not m.get("readOnly")]
    where = ", ".join(path for path in mounts if "serviceaccount" not in path) or "its file system"
    step = change("free space, or raise the volume claim's resources.requests.storage")
    return finding(facts, container, f"ends because the disk is full: no space left on device ({where})", step)


def _port_in_use(facts: Facts, container: Container) -> Found | None:
    if not _IN_USE(all_words(facts, container)):
        return None
    step = change("let each container of the pod listen on its own port, and avoid hostNetwork")
    return finding(facts, container, "can't listen: address already in use", step)


def _no_peer(facts: Facts, container: Container) -> Found | None:
    line = next((line for line in reversed(log_lines(facts, container)) if UNREACHED(line)), "")
    if not line:
        return None
    said = UNREACHED(line)
    peer, because = peer_of(facts, container, line)
    cause = f"ends because it can't reach {peer or 'what it depends on'}: {said[1] or said[0] if said else ''}"
    step = diagnose(because[0]) if because else log_step(container)
    found = finding(facts, container, cause, step, because=because)
    limits = [ref for ref in limiting(facts, container) if "refused" not in cause]
    if not limits:
        return found
    words = f"{found.cause}; {limits[0]} limits what its pods may reach"
    return replace(found, cause=words, steps=(read(limits[0]), *found.steps))


def _by_signal(facts: Facts, container: Container) -> Found | None:
    code = int(container.ended.get("exitCode") or 0)
    if code <= _FIRST_SIGNAL or code - _FIRST_SIGNAL not in {int(each) for each in signal.Signals}:
        return None
    name = signal.Signals(code - _FIRST_SIGNAL).name
    return finding(facts, container, f"is ended by signal {name} (exit code {code})", log_step(container))


def _not_created(facts: Facts, container: Container) -> Found | None:
    if container.waiting not in {"RunContainerError", "CreateContainerError"} and (
        container.ended.get("reason") not in {"StartError", "ContainerCannotRun"}
    ):
        return None
    said = plain(str(container.ended.get("message") or container.waiting_message))[:200]
    # What the family of configuration makes of the same words says more.
    because = (facts.owner(container.ref),)
    return finding(facts, container, f"can't be started: {said}", read(container.ref), because=because)


def _finishes(facts: Facts, container: Container) -> Found | None:
    if container.ended.get("exitCode") != 0:
        return None
    step = change(
        f"let containers[{container.name}] run a process that stays, or make it a Job: restartPolicy is "
        f"{dig(container.pod, 'spec', 'restartPolicy', default='Always')}"
    )
    return finding(facts, container, "finishes with exit code 0 and is started again and again", step)


def _error(facts: Facts, container: Container) -> Found | None:
    if not container.ended:
        return None
    lines = log_lines(facts, container)
    said = f": {quotation(loudest(lines)[:160])}" if lines else ", and its log says nothing about why"
    owner = facts.owner(container.ref)
    steps = (log_step(container),) if owner.resource in {JOBS, PODS} else (log_step(container), read(owner))
    return finding(facts, container, f"ends with exit code {container.ended.get('exitCode', '?')}{said}", *steps)


def _rule(
    id_: str, means: str, known: str, do: str, find: Callable[[Facts, Container], Found | None]
) -> Rule[Container]:
    return Rule(id_, means, known, do, find)


_LOG: Final = "The container ended with an error, and the lines of its last log that matter say "

FAMILIES: Final = (
    Family(
        "Containers that end",
        troubled,
        (
            _rule(
                "crash-out-of-memory",
                "A container uses more memory than its limit and is killed.",
                "Its last termination has the reason OOMKilled.",
                "Raise the memory limit, or have the program use less.",
                _out_of_memory,
            ),
            _rule(
                "crash-architecture",
                "The image is built for another processor architecture.",
                "The runtime or the log says `exec format error`.",
                "Build the image for the node's architecture.",
                _other_machine,
            ),
            _rule(
                "crash-permission",
                "The process may not do what it tries: execute, write, or bind.",
                f"{_LOG}permission denied, or the exit code is 126.",
                "Correct the user, file modes or security context, or mount a volume it may write to.",
                _no_right,
            ),
            _rule(
                "crash-missing-file",
                "A configuration file is not where the process looks for it.",
                f"{_LOG}that a file with a configuration's ending does not exist.",
                "Mount the ConfigMap that has it, or correct the path.",
                _no_file,
            ),
            _rule(
                "crash-missing-setting",
                "An environment variable that the process needs is missing or empty.",
                f"{_LOG}which; where it would come from is looked up in ConfigMaps.",
                "Set the variable in the ConfigMap or the container's env.",
                _no_setting,
            ),
            _rule(
                "crash-command",
                "The command is not in the image.",
                "The runtime says that the executable was not found, or the exit code is 127.",
                "Correct command and args, or the image.",
                _no_command,
            ),
            _rule(
                "crash-disk-full",
                "What the process writes to is full.",
                f"{_LOG}`no space left on device`.",
                "Free space or enlarge the volume.",
                _no_space,
            ),
            _rule(
                "crash-port-in-use",
                "The port it listens on is taken within the pod or on the node.",
                f"{_LOG}`address already in use`.",
                "Give each container its own port.",
                _port_in_use,
            ),
            _rule(
                "crash-dependency",
                "Something it depends on can't be reached.",
                f"{_LOG}connection refused, a time-out, or a name that is not known.",
                "See what is wrong with that service; its finding takes this one's place where there is one.",
                _no_peer,
            ),
            _rule(
                "crash-not-started",
                "The runtime can't create or start the container.",
                "It waits with RunContainerError or CreateContainerError, or ended with StartError.",
                "The runtime's own message says what of the container's spec can't be done.",
                _not_created,
            ),
            _rule(
                "crash-signal",
                "The process is ended by a signal, such as a segmentation fault.",
                "The exit code is over 128 and neither memory nor a probe is the reason.",
                "Read the log; for SIGKILL and SIGTERM look at who ends it.",
                _by_signal,
            ),
            _rule(
                "crash-finishes",
                "The process does its work and ends, but the pod is meant to stay.",
                "The exit code is 0 in a container that is restarted always.",
                "Run a process that stays, or use a Job.",
                _finishes,
            ),
            _rule(
                "crash-error",
                "The process ends with an error of its own.",
                "The exit code, and the last lines of its log that matter.",
                "Read the log of the last run.",
                _error,
            ),
        ),
    ),
)

"""Rules about jobs and cron jobs: retries and time used up, suspended, schedules that are missed or can't be read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.tools.diagnose.facts import CRON_JOBS, JOBS, Facts, Ref
from gateway.tools.diagnose.links import last_jobs
from gateway.tools.diagnose.objects import Obj, ago, changed_at, condition, dig
from gateway.tools.diagnose.rules import Evidence, Family, Found, Rule, change, diagnose, quoted, read

_LATE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Job:
    """A Job or a CronJob."""

    ref: Ref
    item: Obj


def _jobs(facts: Facts) -> Iterator[_Job]:
    for ref, item in facts.all(JOBS):
        if not condition(item, "Complete"):
            yield _Job(ref, item)


def _cron_jobs(facts: Facts) -> Iterator[_Job]:
    for ref, item in facts.all(CRON_JOBS):
        yield _Job(ref, item)


def _deadline(_: Facts, job: _Job) -> Found | None:
    said = condition(job.item, "Failed") or {}
    if said.get("reason") != "DeadlineExceeded":
        return None
    seconds = dig(job.item, "spec", "activeDeadlineSeconds")
    cause = f"{job.ref} was ended because it ran longer than activeDeadlineSeconds: {seconds}"
    evidence = Evidence(f"condition Failed of {job.ref}", str(said.get("message", "")))
    return Found(
        job.ref, cause, (evidence,), (change(f"raise activeDeadlineSeconds of {job.ref} and create it again"),)
    )


def _retries(_: Facts, job: _Job) -> Found | None:
    said = condition(job.item, "Failed")
    if said is None:
        return None
    limit = dig(job.item, "spec", "backoffLimit", default=6)
    failed = dig(job.item, "status", "failed", default=0)
    cause = f"{job.ref} has failed: {said.get('reason', '')}, {failed} pods failed, backoffLimit {limit}"
    evidence = Evidence(f"condition Failed of {job.ref}", str(said.get("message", "")))
    return Found(job.ref, cause, (evidence,), (read(job.ref),), because=(job.ref,))


def _suspended(_: Facts, job: _Job) -> Found | None:
    if not dig(job.item, "spec", "suspend"):
        return None
    evidence = Evidence(f"spec of {job.ref}", "suspend: true")
    step = change(f"set spec.suspend of {job.ref} to false to let it run")
    return Found(job.ref, f"{job.ref} is suspended (spec.suspend: true)", (evidence,), (step,))


def _unreadable(facts: Facts, job: _Job) -> Found | None:
    for event in facts.events_of(job.ref, "UnparseableSchedule", "InvalidSchedule", "UnknownTimeZone"):
        schedule = dig(job.item, "spec", "schedule")
        zone = dig(job.item, "spec", "timeZone")
        what = f"time zone {zone!r}" if event.reason == "UnknownTimeZone" else f"schedule {schedule!r}"
        cause = f"{job.ref} never runs: its {what} can't be read"
        return Found(
            job.ref, cause, (quoted(event),), (change(f"correct spec.schedule or spec.timeZone of {job.ref}"),)
        )
    return None


def _missed(facts: Facts, job: _Job) -> Found | None:
    events = facts.events_of(job.ref, "TooManyMissedTimes", "MissSchedule", "MissingSchedule")
    if not events:
        return None
    seconds = dig(job.item, "spec", "startingDeadlineSeconds")
    limit = f" (startingDeadlineSeconds: {seconds})" if seconds is not None else ""
    cause = f"{job.ref} misses its schedule {dig(job.item, 'spec', 'schedule')!r}{limit}: {events[0].message[:120]}"
    return Found(job.ref, cause, (quoted(events[0]),), (change(f"raise startingDeadlineSeconds of {job.ref}"),))


def _overrun(facts: Facts, job: _Job) -> Found | None:
    active = dig(job.item, "status", "active", default=())
    events = facts.events_of(job.ref, "JobAlreadyActive")
    last = dig(job.item, "status", "lastScheduleTime")
    if dig(job.item, "spec", "concurrencyPolicy") != "Forbid" or not active:
        return None
    late = _expected(facts, job)
    if not events and not (late and last and facts.age(last) > late + _LATE):
        return None
    running = Ref(JOBS, job.ref.namespace, str(active[0].get("name", "")))
    cause = (
        f"{job.ref} starts nothing because {running} of the last run still goes on, since {ago(facts.age(last))} "
        "(concurrencyPolicy: Forbid)"
    )
    return Found(job.ref, cause, tuple(quoted(event) for event in events[:1]), (diagnose(running),), severity="warning")


def _late(facts: Facts, job: _Job) -> Found | None:
    period = _expected(facts, job)
    last = dig(job.item, "status", "lastScheduleTime") or dig(job.item, "metadata", "creationTimestamp")
    changed = changed_at(job.item)
    since = min(facts.age(last), facts.now - changed) if changed else facts.age(last)
    if period is None or dig(job.item, "spec", "suspend") or since < period + _LATE:
        return None
    cause = f"{job.ref} should run {dig(job.item, 'spec', 'schedule')!r}, but last started {ago(facts.age(last))} ago"
    evidence = Evidence(f"status of {job.ref}", f"lastScheduleTime: {dig(job.item, 'status', 'lastScheduleTime')}")
    return Found(job.ref, cause, (evidence,), (read(job.ref),), severity="warning")


def _expected(_: Facts, job: _Job) -> timedelta | None:
    """Return the longest time between two runs, for the schedules of which it is plain; None for others."""
    fields = str(dig(job.item, "spec", "schedule", default="")).split()
    if len(fields) != 5:  # noqa: PLR2004  # minute, hour, day of month, month, day of week
        return {"@hourly": timedelta(hours=1), "@daily": timedelta(days=1)}.get(" ".join(fields))
    minute, hour, *days = fields
    if days != ["*", "*", "*"]:
        return None
    if hour == "*":
        step = re.fullmatch(r"\*/(\d+)|(\*)", minute)
        return timedelta(minutes=int(step[1] or 1)) if step else timedelta(hours=1)
    return timedelta(days=1)


def _last_failed(facts: Facts, job: _Job) -> Found | None:
    for ref in last_jobs(facts, job.ref):
        if condition(facts.objects.get(ref), "Failed"):
            succeeded = dig(job.item, "status", "lastSuccessfulTime")
            since = f"last success {ago(facts.age(succeeded))} ago" if succeeded else "it has never succeeded"
            cause = f"the last run of {job.ref}, {ref}, has failed; {since}"
            evidence = Evidence(f"status of {job.ref}", f"lastSuccessfulTime: {succeeded}")
            return Found(job.ref, cause, (evidence,), (diagnose(ref),), because=(ref,))
    return None


FAMILIES: Final = (
    Family(
        "Jobs",
        _jobs,
        (
            Rule(
                "job-suspended",
                "The job is suspended.",
                "spec.suspend is true.",
                "Resume it, if it should run.",
                _suspended,
                "notice",
            ),
            Rule(
                "job-deadline",
                "The job ran longer than it may.",
                "Condition Failed with DeadlineExceeded.",
                "Raise activeDeadlineSeconds, or make it quicker.",
                _deadline,
            ),
            Rule(
                "job-failed",
                "The job has failed as often as it may.",
                "Condition Failed; why its containers end takes this one's place.",
                "See why its pods fail.",
                _retries,
            ),
        ),
    ),
    Family(
        "Cron jobs",
        _cron_jobs,
        (
            Rule(
                "cron-schedule-unreadable",
                "The schedule or the time zone can't be read.",
                "An event of the controller says so.",
                "Correct it.",
                _unreadable,
            ),
            Rule(
                "cron-suspended",
                "The cron job is suspended.",
                "spec.suspend is true.",
                "Resume it, if it should run.",
                _suspended,
                "notice",
            ),
            Rule(
                "cron-overrun",
                "The run before still goes on, and no second one may.",
                "concurrencyPolicy Forbid, an active job, and starts that were due.",
                "See why that job does not end.",
                _overrun,
                "warning",
            ),
            Rule(
                "cron-missed",
                "Starts were missed.",
                "An event of the controller says so.",
                "Raise startingDeadlineSeconds; look at the controller manager.",
                _missed,
            ),
            Rule(
                "cron-late",
                "It should have started since.",
                "lastScheduleTime is older than the schedule allows; only schedules with a plain period are judged.",
                "Look at the controller manager and at the job's events.",
                _late,
                "warning",
            ),
            Rule(
                "cron-last-failed",
                "The last run has failed.",
                "The newest job of the cron job has condition Failed; its own finding takes this one's place.",
                "See why it fails.",
                _last_failed,
            ),
        ),
    ),
)

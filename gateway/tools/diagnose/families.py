"""Boundary of what is judged: every family of rules, those about causes before those about their effects."""

from typing import Any, Final

from gateway.tools.diagnose import (
    admission,
    autoscaling,
    config,
    crash,
    image,
    ingress,
    jobs,
    namespaces,
    nodes,
    probes,
    rollout,
    scheduling,
    services,
    storage,
)
from gateway.tools.diagnose.rules import Family

ALL: Final[tuple[Family[Any], ...]] = (
    *nodes.FAMILIES,
    *storage.FAMILIES,
    *config.FAMILIES,
    *image.FAMILIES,
    *admission.FAMILIES,
    *scheduling.FAMILIES,
    *crash.FAMILIES,
    *probes.FAMILIES,
    *services.FAMILIES,
    *ingress.FAMILIES,
    *jobs.FAMILIES,
    *autoscaling.FAMILIES,
    *namespaces.FAMILIES,
    *rollout.FAMILIES,
)

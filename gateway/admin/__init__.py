"""The admin listener's boundary: health, readiness and metrics, beside the endpoint that agents call."""

from gateway.admin.app import create_admin_app
from gateway.admin.listener import BACKLOG, admin_listener, bind, url_of
from gateway.admin.options import AdminOptions
from gateway.admin.readiness import Readiness
from gateway.admin.readings import Watched, readings

__all__ = [
    "BACKLOG",
    "AdminOptions",
    "Readiness",
    "Watched",
    "admin_listener",
    "bind",
    "create_admin_app",
    "readings",
    "url_of",
]

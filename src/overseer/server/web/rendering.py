"""Templates to bytes: Jinja2 with escaping always on, and an undefined name is a defect, not a blank.

Every page has the policy below: no script or style but our own files, nothing inline, no frame around it, no other host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from overseer.server.web.amounts import ago, size, span
from overseer.server.web.assets import assets
from overseer.server.web.csrf import CSRF_FIELD
from overseer.server.web.navigation import navigation
from overseer.server.web.page import View
from overseer.server.web.visit import Visit

PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'"
)
#: A form's POST names its origin only under a policy that is not no-referrer (Fetch, "append a request Origin header").
PAGE_HEADERS: Final = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", PAGE_POLICY),
    (b"referrer-policy", b"same-origin"),
    (b"vary", b"Cookie, HX-Request"),
]


def render_view(view: View, visit: Visit, **extra: Any) -> bytes:
    """The HTML of a view, as the visitor sees it."""
    content: dict[str, Any] = {
        "me": visit.me,
        "may": visit.may,
        "csrf": visit.csrf,
        "proof": lambda: _proof(visit.csrf),
        "navigation": navigation(visit),
        "notice": None,
        "address": address_of(visit),
        "path": visit.path,
        "alarms": visit.active_emergencies(),
        **view.content,
        **extra,
    }
    return _templates().get_template(view.template).render(content).encode("utf-8")


def address_of(visit: Visit) -> Callable[..., str]:
    """A function that gives this page's address with some fields of its query changed (None takes one away)."""

    def address(**changes: str | None) -> str:
        fields = {**visit.query, **changes}
        query = urlencode({name: value for name, value in fields.items() if value})
        return f"{visit.path}?{query}" if query else visit.path

    return address


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("overseer.server.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"ago": ago, "size": size, "span": span}
    environment.globals["asset"] = lambda name: assets()[name].path
    return environment


def _proof(csrf: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, csrf)

"""What a page's function gets: who comes, with what, and the services. No decision about access lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overseer.core.principals import Caller
from overseer.server.web.forms import Form

if TYPE_CHECKING:
    from overseer.server.services.catalogue import Services
    from overseer.wire.access import BindingView, MeView


@dataclass(slots=True, repr=False)
class Visit:
    """One checked request of a browser. ``query`` are the fields of the address, ``form`` those of the body.

    ``me`` is who the session speaks for (None on open pages), ``csrf`` the proof that its forms carry, ``fragment`` whether htmx
    asked for a part of a page, ``secure`` whether cookies may be bound to TLS, ``path`` where the visitor is, ``ticket`` what a
    sign-in through a provider began with.
    """

    services: Services
    caller: Caller
    query: Form
    form: Form
    path: str = "/"
    me: MeView | None = None
    csrf: str = ""
    fragment: bool = False
    secure: bool = False
    ticket: bytes | None = None

    def __repr__(self) -> str:
        return f"Visit(request_id={self.caller.request_id!r})"

    def may(self, permission: str) -> bool:
        """Whether the visitor holds ``permission`` over anything: for leaving out what is no use, never for letting in."""
        return self.me is not None and permission in self.me.permissions

    def active_emergencies(self) -> list[BindingView]:
        """Those that were activated and have not ended: every page says so."""
        return [one for one in emergencies(self) if one.active_until is not None]

    def has_a_role_everywhere(self) -> bool:
        """Whether a binding of the visitor has no limits: without one, what is no part of a scope is refused, and each
        refusal is a row of the audit log that nobody caused."""
        bound = () if self.me is None else self.me.bindings
        return any((b.app, b.environment, b.node, b.name) == ("*", "*", "*", "*") for b in bound)


def emergencies(visit: Visit) -> list[BindingView]:
    """The bindings for emergencies that the visitor holds, alone or through a group, dormant or active."""
    return [] if visit.me is None else [one for one in visit.me.bindings if one.active_seconds]

"""Permissions and built-in roles."""

from __future__ import annotations

from overseer.core.permissions import BUILT_IN_ROLES, PERMISSION_MEANING, Permission
from overseer.core.scopes import PRECEDENCE
from scripts.reference_pages.markdown import Page, code, page, prose, table

_SELECTORS = """A binding gives a role to a principal over a *selector* and a *name pattern*. All four parts are always written;
none has a default. A part of the selector is `*` (anything, also nothing set), `-` (only where nothing is set) or one name. The
name pattern is exact, a prefix such as `db-*`, or `*`."""


def build() -> Page:
    """The page; a permission without a meaning is a complaint."""
    complaints = [f"permission {one}: no meaning in PERMISSION_MEANING" for one in Permission if not PERMISSION_MEANING.get(one)]
    roles = sorted(BUILT_IN_ROLES)
    parts = [
        "A permission is `resource:action`. Nothing is allowed that no binding gives.",
        "## Permissions",
        table(
            ("Permission", "Lets its holder", "Built-in roles that hold it"),
            [
                (code(one), prose(PERMISSION_MEANING.get(one)), ", ".join(code(r) for r in roles if one in BUILT_IN_ROLES[r]))
                for one in Permission
            ],
        ),
        "## Built-in roles",
        table(("Role", "Permissions"), [(code(r), " ".join(code(one) for one in sorted(BUILT_IN_ROLES[r]))) for r in roles]),
        "## Where a role holds",
        _SELECTORS,
        "## Precedence of scopes",
        "Of several secrets of one name a consumer gets the one at the most specific scope that covers it, first in this order: "
        + " > ".join(code(one) for one in PRECEDENCE)
        + ".",
    ]
    return page("Permissions and roles", parts, complaints)

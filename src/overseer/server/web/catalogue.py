"""Every page, in the order of its module."""

from __future__ import annotations

from typing import Final

from overseer.server.web.page import Page, pages_of
from overseer.server.web.pages import (
    access,
    account,
    approval_policies,
    approvals,
    audit,
    backends,
    backups,
    emergencies,
    imports,
    overview,
    people,
    rotations,
    secret_making,
    secrets,
    sign_in,
    sources,
)

_MODULES: Final = (
    sign_in,
    overview,
    secret_making,  # before the path of one secret, which would take its word for an id
    secrets,
    sources,
    rotations,
    imports,
    backends,
    people,
    access,
    emergencies,
    approvals,
    approval_policies,
    audit,
    backups,
    account,
)
PAGES: Final[tuple[Page, ...]] = pages_of(_MODULES)

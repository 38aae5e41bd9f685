"""Every page, in the order of its module."""

from __future__ import annotations

from typing import Final

from overseer.server.web.page import Page, pages_of
from overseer.server.web.pages import (
    access,
    account,
    approvals,
    audit,
    backends,
    backups,
    imports,
    overview,
    people,
    rotations,
    secrets,
    sign_in,
    sources,
)

_MODULES: Final = (
    sign_in,
    overview,
    secrets,
    sources,
    rotations,
    imports,
    backends,
    people,
    access,
    approvals,
    audit,
    backups,
    account,
)
PAGES: Final[tuple[Page, ...]] = pages_of(_MODULES)

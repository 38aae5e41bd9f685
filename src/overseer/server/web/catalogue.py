"""Every page, in the order of its module."""

from __future__ import annotations

from typing import Final

from overseer.server.web.page import Page, pages_of
from overseer.server.web.pages import access, account, approvals, audit, overview, people, secrets, sign_in

PAGES: Final[tuple[Page, ...]] = pages_of((sign_in, overview, secrets, people, access, approvals, audit, account))

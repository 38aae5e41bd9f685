"""Every kind of table that the configuration file may hold, in alphabetical order; a new kind is one line here."""

from __future__ import annotations

from typing import Any, Final

from overseer.server.backend_settings import BACKEND_ADDRESS
from overseer.server.backup_settings import BACKUP
from overseer.server.settings_tables import TableKind
from overseer.server.sign_in_settings import CI, OIDC
from overseer.server.sink_settings import SINK

TABLE_KINDS: Final[tuple[TableKind[Any], ...]] = (BACKEND_ADDRESS, BACKUP, CI, OIDC, SINK)

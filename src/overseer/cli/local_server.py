"""The checks of a server on its own machine, for `overseer doctor`: with its settings, and its database where that runs."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

from overseer.core.errors import OverseerError
from overseer.core.findings import Finding, problem, warning
from overseer.server.host_findings import host_findings
from overseer.server.services.database_findings import database_findings
from overseer.server.services.key_limits import KeyLimits
from overseer.server.settings import Settings, data_directory, load_settings
from overseer.server.storage.embedded import EmbeddedPostgres

_MARKS = ("root.key", "postgres", "owner-token")


def local_findings() -> list[Finding]:
    """Nothing where no server was set up here."""
    here = data_directory()
    if not os.environ.get("OVERSEER_DATABASE_URL") and not any(_is_there(here / mark) for mark in _MARKS):
        return []
    try:
        settings = load_settings()
    except OverseerError as error:
        return [problem("settings", error.message, "mend the setting: a server refuses to start like this")]
    return [*host_findings(settings, datetime.now(UTC)), *_database(settings)]


def _is_there(path: os.PathLike[str]) -> bool:
    """False as well where this user may not look: then the server is not this user's."""
    return os.path.lexists(path)


def _database(settings: Settings) -> list[Finding]:
    url = settings.database_url
    if url is None:
        embedded = EmbeddedPostgres(settings.data_dir)
        if not embedded.running:
            text = "the embedded database does not run, so it and the keys in it were not looked at"
            return [warning("database", text, "start the server, then run doctor again")]
        url = embedded.url
    limits = KeyLimits.of(settings.key_max_age_days, settings.key_max_uses)
    return asyncio.run(database_findings(url, settings.seal, limits))

"""Moving secrets between instances: exports, imports and comparisons.

Evolution: fields are added with a default; a new word of ``state`` or ``done`` may come. What an archive itself holds is
``overseer.interchange.migration_archive``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView


class MigrationExport(Request, frozen=True):
    """Which secrets: those whose scope has every part that is named here (one of ``apps``), whatever else it has.

    ``with_global``: those of the global scope as well. ``everything``: all, and nothing else is named. ``recipients`` are age
    public keys.
    """

    recipients: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]
    apps: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    environment: str | None = None
    node: str | None = None
    with_global: bool = False
    everything: bool = False
    reason: str = ""


class MigrationExported(Answer, frozen=True):
    """``content_base64`` is the age file; ``signed_by`` the fingerprint of the key that signed it."""

    instance: str
    signed_by: str
    secrets: int
    versions: int
    content_base64: str


class MigrationArchive(Request, frozen=True):
    """An archive whose age file was opened: ``archive_base64`` are its lines.

    ``signed_by``: the fingerprint (or the whole public key) that the archive has to be signed by. ``app_names``: another name
    here for an app of the archive.
    """

    archive_base64: str
    signed_by: str | None = None
    app_names: dict[str, str] = {}
    reason: str = ""


class MigrationImport(MigrationArchive, frozen=True):
    """``on_conflict``: what becomes of all where one secret cannot come. ``dry_run``: nothing is changed; it alone may go without
    ``signed_by``, and says whose signature it is.
    """

    on_conflict: Literal["fail", "skip"] = "fail"
    dry_run: bool = False


class MigrationResult(Answer, frozen=True):
    """One secret, named as it is here. ``state``: ``new``, ``newer`` (the archive has more versions), ``same``, ``ahead`` (this
    instance has more), ``conflict``.

    ``done``: ``create``, ``update``, ``skip`` or ``fail``; ``versions`` so many came; ``why`` of a conflict; ``notes``: what did
    not come along, or is otherwise here.
    """

    id: str
    name: str
    scope: ScopeView
    state: str
    done: str
    versions: int = 0
    why: str = ""
    notes: list[str] = []


class MigrationImported(Answer, frozen=True):
    """``created`` are apps, environments and nodes (``app shop``); ``imports`` name what came for ``import undo``."""

    instance: str
    created_at: datetime
    signed_by: str
    dry_run: bool
    created: list[str]
    results: list[MigrationResult]
    imports: list[str]


class MigrationCompared(Answer, frozen=True):
    """``state``: ``equal`` (every version, and the active one), ``different``, ``missing``, or ``hidden`` where the caller
    may not see the value here.
    """

    id: str
    name: str
    scope: ScopeView
    state: str
    why: str = ""


class MigrationComparison(Answer, frozen=True):
    """An archive and this instance, by value, without values."""

    instance: str
    created_at: datetime
    signed_by: str
    results: list[MigrationCompared]

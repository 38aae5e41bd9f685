"""Imports, their undo, and exports.

Evolution: fields are added with a default; a new word of ``state`` or ``done`` may come.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView

MAX_ENTRIES: Final = 5000
MAX_EXPORTED: Final = MAX_ENTRIES
Conflicts = Literal["skip", "new-version", "fail"]


class ImportEntry(Request, frozen=True):
    """A name with exactly one of ``value`` (text) and ``value_base64`` (bytes).

    ``erase_after``: seconds after which the server deletes the secret, which has to be new; None: never.
    """

    name: str
    value: str | None = None
    value_base64: str | None = None
    erase_after: int | None = None


class ImportRequest(Request, frozen=True):
    """Secrets for exactly one scope. ``on_conflict`` says what becomes of a secret that exists with another value.

    ``dry_run``: nothing is changed, the answer says what would be. ``immediate`` as in an update. ``origin`` is for people: a
    format and a file's name.
    """

    entries: Annotated[list[ImportEntry], msgspec.Meta(min_length=1, max_length=MAX_ENTRIES)]
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    on_conflict: Conflicts = "fail"
    dry_run: bool = False
    immediate: bool = False
    origin: str = ""
    reason: str = ""


class LiveImportRequest(Request, frozen=True):
    """Secrets out of a folder of a backend into exactly one scope; the values never leave the server.

    ``recursive``: what is in its folders as well. ``fields``: ``split`` makes one secret of each field of a JSON object,
    ``whole`` one of the value as it stands, ``auto`` is ``split`` for Vault and for objects of AWS, ``whole`` for the others.
    ``only`` and ``renames`` name a place below the folder, ``PATH`` or ``PATH#FIELD``. ``on_unreadable``: what becomes of the
    import where a value is refused or missing there. The rest as in an import.
    """

    backend: str
    folder: str = ""
    recursive: bool = False
    fields: Literal["auto", "split", "whole"] = "auto"
    only: Annotated[list[str], msgspec.Meta(max_length=MAX_ENTRIES)] = []
    renames: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_ENTRIES)] = {}
    prefix: str = ""
    keep_names: bool = False
    on_unreadable: Literal["fail", "skip"] = "fail"
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    on_conflict: Conflicts = "fail"
    dry_run: bool = False
    immediate: bool = False
    reason: str = ""


class ImportResult(Answer, frozen=True):
    """``state``: ``new``, ``changed``, ``same``, or ``exists`` where the caller may not know whether the value is the same.

    ``done``: ``create``, ``update``, ``skip`` or ``fail`` (a dry run says what it would be). ``source``: where a value of a
    backend stands there, as in ``apps/shop/db#password``; the state ``unreadable`` and ``why`` are for one that was not to be
    had.
    """

    name: str
    state: str
    done: str
    version: int | None = None
    source: str = ""
    why: str = ""


class ImportAnswer(Answer, frozen=True):
    """``id`` names the import for its undo; None where nothing was changed."""

    id: str | None
    dry_run: bool
    results: list[ImportResult]


class ImportItemView(Answer, frozen=True):
    """``former_version`` None: the import made the secret. ``state``: ``unchanged`` (an undo would take it back), or why not."""

    name: str
    secret_id: str
    version: int
    former_version: int | None
    state: str = ""


class ImportView(Answer, frozen=True):
    """One import; no value."""

    id: str
    origin: str
    scope: ScopeView
    created_by: str
    created_at: datetime
    undone_at: datetime | None
    items: list[ImportItemView]


class ImportUndo(Request, frozen=True):
    """``immediate`` as in an update: containers keep what they have until they are deployed again."""

    immediate: bool = False


class UndoResult(Answer, frozen=True):
    """``done``: ``restored``, ``deleted``, or ``kept`` with the reason why."""

    name: str
    done: str
    why: str = ""


class ImportUndone(Answer, frozen=True):
    """What became of each secret of the import."""

    id: str
    results: list[UndoResult]


class ExportRequest(Request, frozen=True):
    """Secrets of exactly one scope as a file: those of ``names``, or all that the caller may list.

    Encrypted for the age ``recipients``, unless ``plaintext``, which needs ``secret:export``.
    """

    format: str = "dotenv"
    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_EXPORTED)] | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    recipients: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    plaintext: bool = False
    reason: str = ""


class ExportAnswer(Answer, frozen=True):
    """``content_base64`` is the file: armoured age, or the format's own text where it is in plain text."""

    format: str
    encrypted: bool
    names: list[str]
    content_base64: str

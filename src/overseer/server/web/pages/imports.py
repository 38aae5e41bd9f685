"""Imports: a file looked at, stored, and taken back.

No value of a file comes back in a page. What was pasted stays in the browser's own field while a part of the page says what would
become of it; without scripts the page after the dry run is empty again, and the file is pasted anew to import it.
"""

from __future__ import annotations

import base64
from typing import Any, Final, cast
from uuid import UUID

from overseer.core.errors import Denied, InvalidInput, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.core.secret_value import SecretValue
from overseer.interchange.formats import READERS
from overseer.interchange.naming import NameRules, named
from overseer.server.api.route import LARGE_BODY
from overseer.server.web.attempts import MISTAKES, attempt, problems_of
from overseer.server.web.file_reading import FileReading
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.backends import backend_names
from overseer.server.web.places import known_places
from overseer.server.web.visit import Visit
from overseer.wire.imports import MAX_ENTRIES, Conflicts, ImportAnswer, ImportEntry, ImportRequest, ImportUndo, LiveImportRequest

#: Characters; what is larger is for the command line, which reads it beside its own processor.
MAX_TEXT: Final = 1024 * 1024
MAX_ORIGIN: Final = 200
FORMATS: Final = (
    ("dotenv", ".env"),
    ("json", "JSON: names and values, or a tree"),
    ("yaml", "YAML: names and values, or a tree"),
    ("compose", "Docker Compose: plain environment of services"),
    ("vault", "Vault: vault kv get -format=json"),
    ("infisical", "Infisical: export as JSON"),
)
CONFLICTS: Final = (
    ("fail", "import nothing at all"),
    ("skip", "keep what is stored"),
    ("new-version", "store the new value as a new version"),
)
_READING: Final = FileReading()
#: What a form shows again: all but what was pasted.
_GIVEN_AGAIN: Final = (
    "format", "app", "environment", "node", "prefix", "on_conflict", "origin", "keep_names", "backend", "folder", "recursive"
)  # fmt: skip


@page("GET", "/imports", permission=Permission.SECRET_LIST)
async def list_imports(visit: Visit) -> Answer:
    found = await visit.services.imports.list(visit.caller, visit.query.optional("cursor"))
    return View("imports/list.html", {"found": found})


# Before the path with an id, which would take its word for one.
@page("GET", "/imports/new", permission=Permission.SECRET_WRITE)
async def new_import(visit: Visit) -> Answer:
    _require(visit, Permission.SECRET_WRITE)
    return await _form(visit, visit.query)


@page("POST", "/imports/new", permission=Permission.SECRET_WRITE, body_limit=LARGE_BODY)
async def make_import(visit: Visit) -> Answer:
    """A dry run, unless the button that imports was pressed."""
    _require(visit, Permission.SECRET_WRITE)
    form = visit.form
    dry = form.text("do") != "import"
    try:
        answer = await visit.services.imports.import_secrets(visit.caller, await _request(visit, dry_run=dry))
    except MISTAKES as error:
        return await _form(visit, form, error=error)
    if dry or answer.id is None:
        return await _form(visit, form, answer=answer)
    return Redirect(f"/imports/{answer.id}?done=imported")


@page("GET", "/imports/backend", permission=Permission.BACKEND_USE)
async def new_backend_import(visit: Visit) -> Answer:
    _require(visit, Permission.BACKEND_USE)
    return await _backend_form(visit, visit.query)


@page("POST", "/imports/backend", permission=Permission.BACKEND_USE)
async def make_backend_import(visit: Visit) -> Answer:
    """What is in a folder of a backend, once and for all: its values do not pass the browser, and are not tied to it."""
    form = visit.form
    dry = form.text("do") != "import"
    try:
        body = LiveImportRequest(
            backend=form.text("backend"),
            folder=form.text("folder"),
            recursive=form.checked("recursive"),
            prefix=form.text("prefix"),
            keep_names=form.checked("keep_names"),
            app=form.optional("app"),
            environment=form.optional("environment"),
            node=form.optional("node"),
            on_conflict=_conflict(form),
            dry_run=dry,
            immediate=form.checked("immediate"),
        )
        answer = await visit.services.live_imports.import_from_backend(visit.caller, body)
    except MISTAKES as error:
        return await _backend_form(visit, form, error=error)
    if dry or answer.id is None:
        return await _backend_form(visit, form, answer=answer)
    return Redirect(f"/imports/{answer.id}?done=imported")


@page("GET", "/imports/{import_id}", permission=Permission.SECRET_LIST)
async def show_import(visit: Visit, import_id: UUID) -> Answer:
    return await _shown(visit, import_id)


@page("POST", "/imports/{import_id}/undo", permission=Permission.SECRET_ACTIVATE)
async def undo_import(visit: Visit, import_id: UUID) -> Answer:
    async def undo() -> Answer:
        body = ImportUndo(immediate=visit.form.checked("immediate"))
        undone = await visit.services.imports.undo(visit.caller, import_id, body)
        return View("imports/undone.html", {"undone": undone})

    return await attempt(undo, lambda error: _shown(visit, import_id, error))


async def _shown(visit: Visit, import_id: UUID, error: OverseerError | None = None) -> Answer:
    made = await visit.services.imports.get(visit.caller, import_id)
    content = {
        "made": made,
        "can_undo": [one for one in made.items if one.state == "unchanged"],
        "error": error,
        "done": visit.query.text("done"),
    }
    return View("imports/show.html", content, status=error.status if error else 200)


async def _form(
    visit: Visit, given: Form, *, error: OverseerError | None = None, answer: ImportAnswer | None = None
) -> Answer:
    """The form without what was pasted, and what there is to say of it; to htmx only the latter."""
    return await _filled(visit, "imports/new.html", given, error, answer, formats=FORMATS)


async def _backend_form(
    visit: Visit, given: Form, *, error: OverseerError | None = None, answer: ImportAnswer | None = None
) -> Answer:
    names = () if visit.fragment else await backend_names(visit)
    return await _filled(visit, "imports/backend.html", given, error, answer, names=names)


async def _filled(
    visit: Visit, template: str, given: Form, error: OverseerError | None, answer: ImportAnswer | None, **more: Any
) -> Answer:
    if visit.fragment:
        return View("imports/report.html", {"answer": answer, "error": error}, fragment=True)
    content: dict[str, Any] = more | {
        "answer": answer,
        "error": error,
        "given": {name: given.get(name, "") for name in _GIVEN_AGAIN},
        "conflicts": CONFLICTS,
        "problems": problems_of(error),
        "places": await known_places(visit),
    }
    return View(template, content, status=error.status if error else 200)


async def _request(visit: Visit, *, dry_run: bool) -> ImportRequest:
    """Raises :class:`InvalidInput`, which names entries and quotes no value, and :class:`NotReady`."""
    form = visit.form
    word, text = form.text("format"), form.get("text", "")
    if word not in READERS:
        raise _refused("format", "one of the formats of the list", "bad_format")
    if not text.strip():
        raise _refused("text", "paste the content of the file", "missing")
    if len(text) > MAX_TEXT:
        raise _refused("text", "at most 1 MiB; 'overseer secret import' takes more", "too_large")
    rules = NameRules(form.text("prefix"), form.checked("keep_names"))
    secrets = await _READING.run(visit.me.id if visit.me else "", lambda: _entries(word, text, rules))
    origin = "".join(one for one in f"{word} {form.text('origin') or 'pasted'}" if one.isprintable())
    return ImportRequest(
        entries=secrets,
        app=form.optional("app"),
        environment=form.optional("environment"),
        node=form.optional("node"),
        on_conflict=_conflict(form),
        dry_run=dry_run,
        immediate=form.checked("immediate"),
        origin=origin[:MAX_ORIGIN],
    )


def _entries(word: str, text: str, rules: NameRules) -> list[ImportEntry]:
    """Browsers send line ends as CRLF; the file had LF, or the values would end in a carriage return."""
    found = named(READERS[word](text.replace("\r\n", "\n").encode("utf-8", "replace")), rules)
    if not found:
        raise _refused("text", "there is no value in it", "missing")
    if len(found) > MAX_ENTRIES:  # what is made here is not decoded, so nobody else compares it with the API's own limit
        raise _refused("text", f"at most {MAX_ENTRIES} values at a time; this has {len(found)}", "too_large")
    return [ImportEntry(name=name, value_base64=_encoded(value)) for name, value in found]


def _encoded(value: SecretValue) -> str:
    return base64.b64encode(value.reveal()).decode("ascii")


def _refused(field: str, rule: str, code: str) -> InvalidInput:
    return InvalidInput(rule, problems=[Problem(field, rule, code)])


def _conflict(form: Form) -> Conflicts:
    chosen = form.text("on_conflict") or "fail"
    if chosen not in dict(CONFLICTS):
        raise _refused("on_conflict", "one of the list", "bad_conflict")
    return cast("Conflicts", chosen)


def _require(visit: Visit, permission: Permission) -> None:
    """Before anything is read: somebody who may write nothing has no file looked through."""
    if not visit.may(permission):
        raise Denied(f"you lack {permission} everywhere; ask an owner for a role that holds it")

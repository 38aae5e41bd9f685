"""Backends: the list, one with what comes from it, its set-up and its test.

A credential is typed into a form and is in no page afterwards, not even in that of a refused form: services give none out, and
what was typed is shown again without them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from overseer.core.errors import Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.server.api.route import LARGE_BODY
from overseer.server.backends.registry import KINDS, BackendKind, kind_of
from overseer.server.web.attempts import attempt, problems_of
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.backends import BackendCreate, BackendPatch, BackendTest, BackendView

#: Field → what it says and what it means; the service's own defaults stand in a new form.
TIMES: Final[dict[str, tuple[str, str]]] = {
    "ttl": ("Fresh for", "A value is used so long without asking again; one that is kept in step is compared so often."),
    "stale_if_error": ("Stale for", "So long after that it still serves while the backend is away."),
    "max_age": ("At most", "Never longer than this in all."),
    "timeout": ("Timeout", "Of one request."),
}
#: What a stage of a test means to whoever has to mend it, beside what the test found.
STAGES: Final[dict[str, str]] = {
    "address": "The operator's address rules do not let the server go there.",
    "dns": "The host's name leads to no address.",
    "connect": "Nothing accepts connections at that address and port.",
    "timeout": "It was reached, or almost, and did not answer within the timeout.",
    "tls": "Its certificate is not trusted for that name: give the CA's certificates, or mend the name.",
    "redirect": "It sent the server elsewhere. Overseer follows nobody with a credential: give the address it leads to.",
    "too_large": "Its answer is larger than anything that a backend has to say.",
    "answer": "Something answered that does not speak this kind's language: look at the address and what stands before it.",
    "unavailable": "It answers that it cannot serve now: sealed, starting, or overloaded.",
    "auth": "It does not accept the credentials.",
    "permission": "It accepts the credentials, and does not let them do this: look at the policy there.",
    "path": "There is nothing at that place: look at the mount, the project or the vault's name.",
    "field": "The value has no such field.",
}
#: Kind → field of its form → words of its setting ``auth`` with which the field is of use.
_ONLY_WITH: Final[dict[str, dict[str, str]]] = {
    "vault": {
        "settings.role_id": "approle",
        "settings.role": "jwt|cert",
        "credentials.token": "token",
        "credentials.secret_id": "approle",
        "credentials.jwt": "jwt",
    },
    "azure-key-vault": {"settings.tenant_id": "client-secret", "credentials.client_secret": "client-secret"},
}
#: Words that are said by their letters.
_LETTERS: Final = frozenset({"ca", "id", "jwt", "kv"})


@page("GET", "/backends", permission=Permission.BACKEND_LIST)
async def list_backends(visit: Visit) -> Answer:
    found = await visit.services.backends.list_backends(visit.caller, visit.query.optional("cursor"))
    return View("backends/list.html", {"found": found, "kinds": KINDS, "done": visit.query.text("done")})


# Before the path with an id, which would take its word for one.
@page("GET", "/backends/new", permission=Permission.BACKEND_WRITE)
async def new_backend(visit: Visit) -> Answer:
    if not visit.may(Permission.BACKEND_WRITE):
        raise Denied(f"you lack {Permission.BACKEND_WRITE}; ask an owner for a role that holds it")
    return _new_form(visit.query, None)


@page("POST", "/backends/new", permission=Permission.BACKEND_WRITE, body_limit=LARGE_BODY)
async def create_backend(visit: Visit) -> Answer:
    form = visit.form

    async def create() -> Answer:
        body = BackendCreate(
            name=form.text("name"),
            kind=form.text("kind"),
            settings=_given(form, "settings."),
            credentials=_given(form, "credentials."),
            description=form.text("description"),
            **_times(form),
        )
        made = await visit.services.backends.create_backend(visit.caller, body)
        return Redirect(f"/backends/{made.view.id}?done=created")

    async def again(error: OverseerError) -> Answer:
        return _new_form(form, error)

    return await attempt(create, again)


@page("GET", "/backends/{backend_id}", permission=Permission.BACKEND_LIST)
async def show_backend(visit: Visit, backend_id: UUID) -> Answer:
    return await _shown(visit, backend_id)


@page("POST", "/backends/{backend_id}/test", permission=Permission.BACKEND_WRITE)
async def test_backend(visit: Visit, backend_id: UUID) -> Answer:
    async def test() -> Answer:
        told = await visit.services.backends.test_backend(visit.caller, backend_id)
        if visit.fragment:
            return View("backends/test.html", {"told": told, "stages": STAGES}, fragment=True)
        return await _shown(visit, backend_id, told=told)

    return await attempt(test, lambda error: _shown(visit, backend_id, error))


@page("POST", "/backends/{backend_id}/change", permission=Permission.BACKEND_WRITE)
async def change_backend(visit: Visit, backend_id: UUID) -> Answer:
    form = visit.form

    async def change() -> Answer:
        times: dict[str, Any] = {**_times(form)}
        body = BackendPatch(description=form.text("description"), **times)
        await visit.services.backends.patch_backend(visit.caller, backend_id, body, form.optional("etag"))
        return Redirect(f"/backends/{backend_id}?done=changed")

    return await attempt(change, lambda error: _shown(visit, backend_id, error))


@page("POST", "/backends/{backend_id}/settings", permission=Permission.BACKEND_WRITE, body_limit=LARGE_BODY)
async def set_backend(visit: Visit, backend_id: UUID) -> Answer:
    """Settings and credentials go together: whoever sends credentials elsewhere has to know them."""
    form = visit.form

    async def change() -> Answer:
        body = BackendPatch(settings=_given(form, "settings."), credentials=_given(form, "credentials."))
        await visit.services.backends.patch_backend(visit.caller, backend_id, body, form.optional("etag"))
        return Redirect(f"/backends/{backend_id}?done=changed")

    return await attempt(change, lambda error: _shown(visit, backend_id, error))


@page("POST", "/backends/{backend_id}/delete", permission=Permission.BACKEND_WRITE)
async def delete_backend(visit: Visit, backend_id: UUID) -> Answer:
    async def delete() -> Answer:
        await visit.services.backends.delete_backend(visit.caller, backend_id, visit.form.optional("etag"))
        return Redirect("/backends?done=deleted")

    return await attempt(delete, lambda error: _shown(visit, backend_id, error))


async def backend_names(visit: Visit) -> tuple[str, ...]:
    """For the choices of a form; empty where the visitor may not see them, and a name can be typed."""
    if visit.may(Permission.BACKEND_LIST):
        with suppress(Denied):
            return tuple(one.name for one in (await visit.services.backends.list_backends(visit.caller)).items)
    return ()


async def _shown(
    visit: Visit, backend_id: UUID, error: OverseerError | None = None, told: BackendTest | None = None
) -> Answer:
    backends, caller = visit.services.backends, visit.caller
    tagged = await backends.get_backend(caller, backend_id)
    sources = await backends.list_sources(caller, backend_id, cursor=visit.query.optional("cursor"))
    view = tagged.view
    kind = KINDS.get(view.kind)
    content = {
        "backend": view,
        "etag": tagged.etag,
        "kind": kind,
        "shown": _settings(view, kind),
        "fields": _fields(kind, view.settings | _settings_of(visit.form)) if kind else [],
        "sources": sources,
        "times": TIMES,
        "stages": STAGES,
        "told": told,
        "error": error,
        "problems": problems_of(error),
        "given": visit.form,
        "done": visit.query.text("done"),
    }
    return View("backends/show.html", content, status=error.status if error else 200)


def _new_form(given: Form, error: OverseerError | None) -> View:
    word = given.text("kind")
    kind = kind_of(word) if word in KINDS else None
    defaults = {name: str(BackendCreate.__struct_defaults__[-len(TIMES) :][place]) for place, name in enumerate(TIMES)}
    content: dict[str, Any] = {
        "kind": kind,
        "kinds": KINDS,
        "fields": _fields(kind, _settings_of(given)) if kind else [],
        "times": TIMES,
        "given": {"name": given.get("name", ""), "description": given.get("description", "")}
        | {name: given.get(name, defaults[name]) for name in TIMES},
        "error": error,
        "problems": problems_of(error),
    }
    return View("backends/new.html", content, status=error.status if error else 200)


def _fields(kind: BackendKind, values: dict[str, str]) -> list[dict[str, Any]]:
    """What a form of the kind asks for, in order. A credential never has a value."""
    only = _ONLY_WITH.get(kind.word, {})
    found = []
    for part, keys in (("settings", kind.settings), ("credentials", kind.credentials)):
        for key in keys:
            name = f"{part}.{key.name}"
            secret = part == "credentials"
            found.append(
                {
                    "name": name,
                    "label": label_of(key.name),
                    "meaning": key.meaning,
                    "secret": secret,
                    "long": key.name.endswith("_pem"),
                    "choices": kind.choices.get(key.name, ()) if not secret else (),
                    "value": "" if secret else values.get(key.name, key.default or ""),
                    "required": key.default is None,
                    "when": only.get(name, ""),
                }
            )
    return found


def label_of(name: str) -> str:
    """``client_pem`` as people write it: ``Client (PEM)``."""
    words = ["(PEM)" if word == "pem" else word.upper() if word in _LETTERS else word for word in name.split("_")]
    text = " ".join(words)
    return text[0].upper() + text[1:]


def _settings(view: BackendView, kind: BackendKind | None) -> list[tuple[str, str]]:
    """The settings that are set, in the order of the kind."""
    names = [key.name for key in kind.settings] if kind else sorted(view.settings)
    return [(label_of(name), view.settings[name]) for name in names if view.settings.get(name)]


def _settings_of(form: Form) -> dict[str, str]:
    """What was typed, to be shown again; an address with somebody's password in it is refused, and typed anew."""
    return {name: "" if "://" in text and "@" in text else text for name, text in _given(form, "settings.").items()}


def _given(form: Form, prefix: str) -> dict[str, str]:
    """The fields of a part by their own names. Browsers send line ends as CRLF; PEM has LF."""
    found = {name.removeprefix(prefix): form[name] for name in form if name.startswith(prefix)}
    return {name: text.replace("\r\n", "\n").strip() for name, text in found.items()}


def _times(form: Form) -> dict[str, int]:
    found = {name: form.number(name) for name in TIMES}
    return {name: seconds for name, seconds in found.items() if seconds is not None}

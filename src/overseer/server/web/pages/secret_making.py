"""New secrets: typed, made by a generator, or taken from a backend. What was typed as a value is in no page afterwards."""

from __future__ import annotations

from typing import Any, Final

from overseer.core.errors import Denied, InvalidInput, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.server.api.route import LARGE_BODY
from overseer.server.web.attempts import MISTAKES, problems_of
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.backends import backend_names
from overseer.server.web.places import known_places
from overseer.server.web.visit import Visit
from overseer.wire.backends import SourcedSecretCreate
from overseer.wire.secrets import SecretCreate

#: What a refused form shows again: all but the value.
_GIVEN_AGAIN: Final = (
    "name", "how", "generate", "spec", "app", "environment", "node", "description", "owner", "labels", "expires_at",
    "backend", "ref", "field", "mode"
)  # fmt: skip
GENERATORS: Final = (
    ("password:32", "Password, 32 characters"),
    ("password:64", "Password, 64 characters"),
    ("token:32", "Token, URL-safe, 256 bits"),
    ("hex:32", "Hexadecimal, 256 bits"),
    ("base64:32", "Base64, 256 bits"),
    ("uuid", "UUID, version 4"),
    ("passphrase:6", "Passphrase, 6 words"),
    ("ssh-ed25519", "SSH key, Ed25519"),
    ("ec:256", "Key pair, EC P-256"),
    ("rsa:3072", "Key pair, RSA 3072"),
)


@page("GET", "/secrets/new", permission=Permission.SECRET_WRITE)
async def new_secret(visit: Visit) -> Answer:
    if not visit.may(Permission.SECRET_WRITE):
        raise Denied(f"you lack {Permission.SECRET_WRITE} everywhere; ask an owner for a role that holds it")
    return await _new_form(visit, visit.query, None)


@page("POST", "/secrets/new", permission=Permission.SECRET_WRITE, body_limit=LARGE_BODY)
async def create_secret(visit: Visit) -> Answer:
    form = visit.form
    try:
        if form.get("how") == "backend":
            return await _sourced(visit)
        made = await visit.services.secrets.create(
            visit.caller,
            SecretCreate(
                name=form.text("name"),
                **given_value(form),
                app=form.optional("app"),
                environment=form.optional("environment"),
                node=form.optional("node"),
                description=form.text("description"),
                labels=given_labels(form),
                owner=form.optional("owner"),
                expires_at=form.moment("expires_at"),
            ),
        )
    except MISTAKES as error:
        return await _new_form(visit, form, error)
    return Redirect(f"/secrets/{made.view.id}?done=created")


async def _sourced(visit: Visit) -> Answer:
    """A secret whose value comes from a backend. Raises :class:`InvalidInput` for what such a one is given afterwards."""
    form = visit.form
    if form.text("expires_at"):
        rule = "of a value that comes from a backend it is set afterwards, on the secret's page"
        raise InvalidInput(rule, problems=[Problem("expires_at", rule, "not_here")])
    body = SourcedSecretCreate(
        name=form.text("name"),
        backend=form.text("backend"),
        ref=form.text("ref"),
        field=form.text("field"),
        mode="sync" if form.text("mode") == "sync" else "pull",
        app=form.optional("app"),
        environment=form.optional("environment"),
        node=form.optional("node"),
        description=form.text("description"),
        labels=given_labels(form),
        owner=form.text("owner"),
    )
    made = await visit.services.sourcing.create_sourced(visit.caller, body)
    return Redirect(f"/secrets/{made.view.id}?done=created")


async def _new_form(visit: Visit, given: Form, error: OverseerError | None) -> Answer:
    """The empty form, or the one that was refused with all that was typed but the value."""
    content = {
        "given": {name: given.get(name, "") for name in _GIVEN_AGAIN},
        "problems": problems_of(error),
        "error": error,
        "generators": GENERATORS,
        "places": await known_places(visit),
        "names": await backend_names(visit),
    }
    return View("secrets/new.html", content, status=error.status if error else 200)


def given_value(form: Form) -> dict[str, Any]:
    """What the form gives as the value: typed text, or a generator. Browsers send line ends as CRLF; a secret has LF."""
    if form.get("how") == "generate":
        return {"generate": form.optional("spec") or form.text("generate")}
    return {"value": form.get("value", "").replace("\r\n", "\n")}


def given_labels(form: Form) -> dict[str, str]:
    """``key=value`` a line. Raises :class:`InvalidInput` by the line's number."""
    labels: dict[str, str] = {}
    for number, line in enumerate(form.get("labels", "").splitlines(), start=1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidInput(f"labels, line {number}: write key=value")
        labels[key.strip()] = value.strip()
    return labels

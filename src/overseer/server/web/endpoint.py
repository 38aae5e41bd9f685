"""The ASGI endpoint of a page: from a browser's request to a :class:`Visit`, from an answer to HTML.

The order of the checks: path, the limit on strangers, the seal, session, form, proof. A visitor without a live session is sent
to the sign-in page and comes back afterwards, one whose session can only set up a second factor to where that is done; while the
server is sealed every page leads to the one that unseals it. A refusal is a page with the status that the API would give, or,
where htmx asked, a notice in the page that is open.

A changing request needs the proof of its form (an HMAC under the session's own secret, so a page of another site cannot know
it) and an Origin that is ours, which the front has compared (scheme, host and port); one without any Origin does not come from a
form of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.routing import BaseRoute
from starlette.routing import Route as PathRoute

from overseer.core.errors import (
    ForeignOrigin,
    NotReady,
    OverseerError,
    RateLimited,
    Sealed,
    Unauthenticated,
    Unavailable,
    WrongMethod,
)
from overseer.server.api.bodies import ClientGone, read_body
from overseer.server.api.endpoint import Edge
from overseer.server.api.error_responses import Headers, log_defect, problem_response
from overseer.server.api.front import FACTS, HEADERS, ROUTE, Receive, Scope, Send, respond
from overseer.server.api.parameters import path_arguments
from overseer.server.api.route import SMALL_BODY, Open
from overseer.server.api.session_cookies import cookie_value, no_session_cookie, session_hash
from overseer.server.web.assets import PREFIX, assets_by_path
from overseer.server.web.csrf import CSRF_FIELD, check_proof, proof_of
from overseer.server.web.forms import Form, read_form
from overseer.server.web.oidc_cookie import ticket_cookie_name
from overseer.server.web.page import Answer, Download, Page, Redirect, View
from overseer.server.web.rendering import PAGE_HEADERS, render_view
from overseer.server.web.visit import Visit

SIGN_IN: Final = "/sign-in"
UNSEAL: Final = "/unseal"
ENROL: Final = "/account/second-factor"
FORM_MEDIA: Final = b"application/x-www-form-urlencoded"
#: A wrong password or invitation is a page to try again on, and a failed attempt all the same.
_FAILED: Final = frozenset({Unauthenticated.status, RateLimited.status})
_KEPT: Final = b"public, max-age=31536000, immutable"


def page_routes(pages: Sequence[Page], edge: Edge) -> list[BaseRoute]:
    """The routes of all pages and of their assets, for the application's ``extra``."""
    by_path: dict[str, dict[str, Page]] = {}
    for page in pages:
        methods = by_path.setdefault(page.path, {})
        if page.method in methods:
            raise ValueError(f"{page.method} {page.path} is declared twice")
        methods[page.method] = page
    routes: list[BaseRoute] = [PathRoute(path, PageEndpoint(methods, edge)) for path, methods in by_path.items()]
    return [*routes, PathRoute(PREFIX + "{digest}/{name}", _Assets()), PathRoute("/{rest:path}", _NoSuchPage(edge))]


class PageEndpoint:
    """All methods of one path."""

    def __init__(self, pages: Mapping[str, Page], edge: Edge) -> None:
        self._pages = dict(pages)
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _visit(scope, self._edge)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        page = self._pages.get(method)
        try:
            if page is None:
                raise WrongMethod("this page does not have that method")
            scope[ROUTE] = page.path
            with ExitStack() as place:  # in the limits, for as long as it is answered
                answer = await self._answer(page, visit, scope, receive, place)
            status, headers, body = _rendered(answer, visit)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  # every failure is a page; a defect says nothing of itself
            status, headers, body = _refused(error, visit, scope)
        await respond(send, status, headers, body)

    async def _answer(self, page: Page, visit: Visit, scope: Scope, receive: Receive, place: ExitStack) -> Answer:
        arguments = path_arguments(page.parameters, scope.get("path_params", {}))
        visit.query = read_form(scope["query_string"])
        throttle, peer, is_open = self._edge.throttle, scope[FACTS].peer, isinstance(page.permission, Open)
        # What an open page lets in is in its form: a session beside it frees no guess at somebody else's password.
        credential = None if is_open else visit.caller.token_hash
        if credential is None and not is_open and not self._edge.sealed():
            raise Unauthenticated("sign in first")  # a visit with nothing to try costs no attempt and no audit row
        throttle.admit(peer, credential)
        place.enter_context(self._edge.limits.take(throttle.holder(peer, credential), waits=False))
        try:
            if self._edge.sealed() and not (isinstance(page.permission, Open) and page.permission.while_sealed):
                raise Sealed("the server is sealed", retry_after=5)
            if not is_open:
                visit.me = await visit.services.identity.me(visit.caller)
                if visit.me.enrolling and not page.enrolling:
                    return Redirect(ENROL)
            if page.method == "POST":
                if page.body_limit > SMALL_BODY:
                    place.enter_context(throttle.large_body(credential))
                await self._read_form(page, visit, scope, receive)
            answer = await page.handler(visit, **arguments)
        except Unauthenticated:
            throttle.failed(credential)
            raise
        except (ClientGone, RateLimited):
            raise
        except BaseException:
            throttle.passed(peer, credential, authenticated=False)
            raise
        if not (isinstance(answer, View) and answer.status in _FAILED):
            throttle.passed(peer, credential, authenticated=not is_open)
        return answer

    async def _read_form(self, page: Page, visit: Visit, scope: Scope, receive: Receive) -> None:
        headers = scope[HEADERS]
        if not headers.get(b"origin"):  # the front has compared it with our own
            raise ForeignOrigin("a form is sent by a page of this server")
        visit.form = read_form(await read_body(headers, receive, page.body_limit, media=FORM_MEDIA))
        if not isinstance(page.permission, Open):
            sent = headers.get(b"x-csrf-token", [b""])[0].decode("latin-1") or visit.form.get(CSRF_FIELD, "")
            check_proof(sent, visit.csrf)


def _visit(scope: Scope, edge: Edge) -> Visit:
    headers = scope[HEADERS]
    session = session_hash(headers, secure=edge.secure_cookies)
    return Visit(
        services=edge.services,
        caller=scope[FACTS].caller(session),
        query=Form([]),
        form=Form([]),
        path=scope["path"],
        csrf="" if session is None else proof_of(session),
        fragment=b"hx-request" in headers,
        secure=edge.secure_cookies,
        ticket=cookie_value(headers, ticket_cookie_name(secure=edge.secure_cookies)),
    )


def _rendered(answer: Answer, visit: Visit) -> tuple[int, Headers, bytes]:
    if isinstance(answer, Redirect):
        if visit.fragment:  # htmx follows a 303 by itself and would put the whole page into a part of it
            return 200, [*PAGE_HEADERS, (b"hx-redirect", answer.path.encode("ascii")), *answer.headers], b""
        return 303, [(b"location", answer.path.encode("ascii")), *answer.headers], b""
    if isinstance(answer, Download):
        headers = {key: value for key, value in PAGE_HEADERS if key != b"content-type"}
        headers[b"content-type"] = answer.media_type.encode("ascii")
        headers[b"content-disposition"] = f'attachment; filename="{answer.name}"'.encode("ascii")
        return 200, list(headers.items()), answer.content
    return answer.status, [*PAGE_HEADERS, *answer.headers], render_view(answer, visit)


def _refused(error: Exception, visit: Visit, scope: Scope) -> tuple[int, Headers, bytes]:
    request_id = scope[FACTS].request_id
    if isinstance(error, Sealed):
        return _rendered(Redirect(UNSEAL), visit)
    if isinstance(error, Unauthenticated):
        back = visit.path if scope["method"] == "GET" and not visit.fragment else "/"
        cookie = no_session_cookie(secure=visit.secure).encode("ascii")
        ended = ((b"set-cookie", cookie),) if visit.caller.token_hash else ()
        return _rendered(Redirect(SIGN_IN if back == "/" else f"{SIGN_IN}?next={quote(back, safe='')}", ended), visit)
    if not isinstance(error, OverseerError):
        log_defect(error, request_id)
        error = OverseerError("the server made an error; it is in the server's log under this request id")
    headers: Headers = [*PAGE_HEADERS]
    if isinstance(error, NotReady | RateLimited) and error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if visit.fragment:
        # htmx shows nothing of an answer that is not a success, so the notice comes as one; the log has the true status.
        headers += [(b"hx-retarget", b"#notices"), (b"hx-reswap", b"innerHTML show:window:top")]
        return 200, headers, render_view(View("notice.html", {"error": error}), visit)
    title = HTTPStatus(error.status).phrase
    content: dict[str, Any] = {"error": error, "title": title, "request_id": request_id}
    with suppress(LookupError):
        return error.status, headers, render_view(View("error.html", content), visit)
    return error.status, headers, title.encode()


class _NoSuchPage:
    """Whatever else is asked for: a page for those who read pages, a problem document for programs and below ``/api``."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the signature is ASGI's
        error = Unavailable("there is nothing at this path")
        accepted = b",".join(scope[HEADERS].get(b"accept", []))
        if b"text/html" in accepted and not scope["path"].startswith("/api/"):
            await respond(send, *_refused(error, _visit(scope, self._edge), scope))
        else:
            await respond(send, *problem_response(error, scope[FACTS].request_id))


class _Assets:
    """Style, script and icon: open, the same for everybody, known by their hash."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the signature is ASGI's
        scope[ROUTE] = PREFIX + "{digest}/{name}"
        asset = assets_by_path().get(scope["path"])
        if asset is None or scope["method"] not in ("GET", "HEAD"):
            await respond(send, 404, [(b"content-type", b"text/plain; charset=utf-8")], b"there is nothing at this address\n")
            return
        await respond(send, 200, [(b"content-type", asset.media_type.encode()), (b"cache-control", _KEPT)], asset.content)

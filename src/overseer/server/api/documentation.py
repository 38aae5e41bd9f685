"""The two pages that describe the API: the OpenAPI document, and the same for people as one plain page without scripts.

Both are made once, when the application is. Neither needs anything from another host; the page's only style is its own, named
by its hash in the content security policy.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import msgspec

from overseer import __version__
from overseer.server.api.call import Call, Document
from overseer.server.api.openapi import access_text, openapi_document
from overseer.server.api.route import Open, Route, route

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #d0d7de;padding:.4rem .6rem;text-align:left;"
    "vertical-align:top}code{font:14px ui-monospace,monospace}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}a{color:#79b8ff}th,td{border-color:#30363d}}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_OPEN: Final = Open("the description of the API is the same for everyone and holds no data", while_sealed=True)


def documentation_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The routes of the two pages, which describe ``routes`` and themselves."""

    @route("GET", "/api/openapi.json", permission=_OPEN, summary="This API as an OpenAPI 3.1 document", returns=dict[str, Any])
    async def get_openapi(call: Call[None, None]) -> Document:  # noqa: ARG001  # the same for every call
        return Document(media_type="application/json", content=document)

    @route("GET", "/api/docs", permission=_OPEN, summary="This API as a page", returns=str, media_type="text/html")
    async def get_docs(call: Call[None, None]) -> Document:  # noqa: ARG001  # the same for every call
        return Document(media_type="text/html; charset=utf-8", content=page, policy=_POLICY)

    own = (get_openapi, get_docs)
    document = msgspec.json.encode(openapi_document([*routes, *own]))
    page = docs_page([*routes, *own]).encode("utf-8")
    return own


def docs_page(routes: Sequence[Route]) -> str:
    """One HTML page with a row for each route, in the order of paths."""
    rows = "".join(
        f"<tr><td><code>{r.method}&nbsp;{escape(r.path)}</code></td><td>{escape(r.summary)}</td>"
        f"<td><code>{escape(_type_name(r.body))}</code></td><td>{r.status} <code>{escape(_type_name(r.returns))}</code></td>"
        f"<td>{escape(access_text(r.permission))}</td></tr>"
        for r in sorted(routes, key=lambda r: (r.path, r.method))
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Overseer API</title>'
        f"<style>{_STYLE}</style></head><body><h1>Overseer API {escape(__version__)}</h1>"
        '<p>The whole description, with every field, is the <a href="/api/openapi.json">OpenAPI 3.1 document</a>. '
        "Send a token as <code>Authorization: Bearer ovs_…</code> and bodies as <code>application/json</code>; errors are "
        "<code>application/problem+json</code> (RFC 9457) with a stable <code>code</code>.</p>"
        "<table><thead><tr><th>Route</th><th>What it does</th><th>Body</th><th>Answer</th><th>Permission</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></body></html>"
    )


def _type_name(type_: Any) -> str:
    if type_ is None:
        return ""
    inner = getattr(type_, "__args__", ())
    name = getattr(type_, "__name__", str(type_))
    return f"{name}[{', '.join(getattr(i, '__name__', str(i)) for i in inner)}]" if inner else str(name)

"""A browser without a screen: cookies, forms with their proof, and HTML looked at as a parser sees it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.integration.api.people import Server

PASSWORD = "plum tractor violet moss"
HERE = "http://127.0.0.1:8420"


@dataclass
class Html(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    text: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.inline.append(data)

    def proof(self) -> str:
        """The proof that the page's forms carry; '' without a form."""
        return next((a.get("value") or "" for tag, a in self.elements if tag == "input" and a.get("name") == "csrf"), "")


@dataclass
class Browser:
    """A session's cookie and the requests with it."""

    server: Server
    session: str
    proof: str = ""

    async def open(self, path: str, **headers: str) -> httpx.Response:
        return await self.server.ask("GET", path, "", headers={"cookie": f"overseer={self.session}"} | headers)

    async def send(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        """A form of this session with its proof, as a browser sends it."""
        return await self.post(path, {"csrf": await self.known_proof()} | (fields or {}), headers={"origin": HERE} | headers)

    async def post(self, path: str, fields: dict[str, str], headers: dict[str, str]) -> httpx.Response:
        """Any form, with nothing added but the cookie."""
        return await self.server.ask("POST", path, "", data=fields, headers={"cookie": f"overseer={self.session}"} | headers)

    async def known_proof(self) -> str:
        if not self.proof:
            self.proof = Html((await self.open("/account")).text).proof()
        return self.proof


async def somebody(server: Server, role: str | None = None, **selector: str) -> Browser:
    """A new user who has signed in; with ``role`` over everything, or over what ``selector`` says."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    user = await server.made("/api/users", name=name)
    invited = await server.made(f"/api/users/{user['id']}/reset")
    accepted = await server.ask(
        "POST", "/api/auth/invitation", "", json={"invitation": invited["invitation"], "password": PASSWORD}
    )
    assert accepted.status_code == 204, accepted.text
    if role is not None:
        where: dict[str, Any] = {"app": "*", "environment": "*", "node": "*", "name": "*"} | selector
        await server.made("/api/bindings", principal=name, role=role, **where)
    answer = await server.ask(
        "POST", "/sign-in", "", data={"name": name, "password": PASSWORD, "next": "/secrets"}, headers={"origin": HERE}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/secrets"), answer.text
    server.http.cookies.clear()  # the browsers of a test share one client, not one jar
    return Browser(server, answer.headers["set-cookie"].partition("overseer=")[2].partition(";")[0])

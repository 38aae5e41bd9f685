"""How ``overseer login`` comes to a credential: name and password, an identity provider, or a CI job's identity token.

Passwords and codes are asked for on the terminal or read from standard input (the password in the first line, a code in the
second), never taken from the command line. A provider's answer comes back to a listener on this machine's loopback that lives
for one request (RFC 8252): the code in it is worth nothing without the ticket, which stays in this process.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import click

from overseer.cli.output import say
from overseer.cli.terminal import ask_secret
from overseer.cli.values import read_credential
from overseer.core.errors import InvalidInput, SecondFactorNeeded, Unauthenticated
from overseer.core.secret_value import SecretValue

if TYPE_CHECKING:
    from overseer.client.people import SignInRoutes

CI_VARIABLE: Final = "OVERSEER_CI_TOKEN"
WAIT_SECONDS: Final = 300
_MAX_LINES: Final = 4096
_PAGE: Final = (
    b"<!doctype html><meta charset=utf-8><title>Overseer</title><p>This window can be closed; go on where you began to sign in."
)
_HOW: Final = "give password and code in two lines with --stdin"


def by_password(routes: SignInRoutes, name: str, stdin: bool) -> SecretValue:
    """A session for a name and a password, and a code where the user has a second factor."""
    password, code = _from_stdin() if stdin else (ask_secret(f"password of {name}", instead=_HOW), None)
    try:
        made = routes.with_password(name, password, code)
    except SecondFactorNeeded:
        if stdin:
            raise
        made = routes.with_password(name, password, ask_secret("code of the authenticator, or a recovery code", instead=_HOW))
    return SecretValue(made.session)


def by_provider(routes: SignInRoutes, provider: str, open_browser: bool) -> SecretValue:
    """A session for whom an identity provider signs in, in a browser of this machine."""
    with _Listener() as listener:
        begun = routes.begin_oidc(provider, listener.redirect_uri)
        for line in ("open this address in a browser on this machine to sign in:", "", f"  {begun.url}", ""):
            say(line)
        if open_browser:
            import webbrowser

            webbrowser.open(begun.url)
        came = listener.wait()
    if came.error:
        raise Unauthenticated("the provider did not sign you in; nothing was kept")
    return SecretValue(routes.finish_oidc(begun.ticket, came.code, came.state, came.issuer).session)


def by_job(routes: SignInRoutes, name: str, token_file: str | None, stdin: bool) -> SecretValue:
    """A short token for a CI job's identity token, from a file, standard input or the variable OVERSEER_CI_TOKEN."""
    given = os.environ.get(CI_VARIABLE)
    if token_file is None and not stdin:
        if not given:
            raise InvalidInput(f"put the job's identity token into ${CI_VARIABLE}, or give --token-file PATH or --stdin")
        token = SecretValue(given)
    else:
        token = read_credential(token_file, stdin, prompt="", instead="")
    return SecretValue(routes.exchange(name, token).token)


@dataclass(frozen=True, slots=True, repr=False)
class _Came:
    """What the provider sent back."""

    code: str = ""
    state: str = ""
    issuer: str | None = None
    error: bool = False


class _Listener:
    """One request on a port of the loopback address; anything but the provider's answer is refused and waited past."""

    def __init__(self) -> None:
        self._came: _Came | None = None
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}/callback"

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.server_close()

    def wait(self) -> _Came:
        """The answer; ends the command after five minutes."""
        import time

        ends = time.monotonic() + WAIT_SECONDS
        while self._came is None:
            self._server.timeout = max(0.0, ends - time.monotonic())
            if self._server.timeout == 0.0:
                raise click.ClickException("nobody signed in within five minutes; nothing was kept")
            self._server.handle_request()
        return self._came

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
                """Say nothing: the address holds the code."""

            def do_GET(self) -> None:
                answered = listener.answered(self.path, self.headers.get("host", ""))
                self.send_response(200 if answered else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("cache-control", "no-store")
                self.send_header("referrer-policy", "no-referrer")
                self.send_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
                self.end_headers()
                self.wfile.write(_PAGE if answered else b"")

        return Handler

    def answered(self, path: str, host: str) -> bool:
        """Take the provider's answer; False for any other request."""
        url = urlsplit(path)
        if url.path != "/callback" or host != f"127.0.0.1:{self._server.server_port}":
            return False
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "code" not in query and "error" not in query:
            return False
        self._came = _Came(query.get("code", ""), query.get("state", ""), query.get("iss"), "error" in query)
        return True


def _from_stdin() -> tuple[SecretValue, SecretValue | None]:
    lines = sys.stdin.buffer.read(_MAX_LINES).splitlines()
    if not lines:
        raise InvalidInput("nothing was given on standard input: the password belongs into its first line")
    return SecretValue(lines[0]), SecretValue(lines[1]) if len(lines) > 1 and lines[1] else None

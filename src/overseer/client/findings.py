"""What `overseer doctor` sees of a server from anywhere: is it ready, its clock, its certificate; with a token its keys."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from overseer.core.errors import Denied, KeyProblem, NotReady, OverseerError, Unauthenticated
from overseer.core.findings import Finding, certificate_finding, clock_finding, ok, problem, warning
from overseer.crypto.certificates import expires_at
from overseer.wire.keys import KeyringView
from overseer.wire.seal import Health

if TYPE_CHECKING:
    from overseer.client.api import Client

_CONNECT_SECONDS: Final = 5.0


def server_findings(client: Client) -> list[Finding]:
    """What needs no token. The server may be down: that is a finding."""
    try:
        answer = client.http.request("GET", "/health/ready", returns=Health, also=frozenset({503}))
    except OverseerError as error:
        return [problem("server", f"{client.url}: {error.message}", "start it, or mend OVERSEER_URL")]
    return [_health(client.url, answer.value), *_clock(answer.headers.get("date"))]


def key_findings(client: Client) -> list[Finding]:
    """What needs ``key:read``; nothing where the token may not see it."""
    try:
        view = client.keys.status()
    except (Denied, Unauthenticated, NotReady):
        return []  # not for this token; or the finding "server" has said it
    except OverseerError as error:
        return [problem("keys", error.message, "see `overseer key status`")]
    return [*_keys(view)]


def certificate_findings(client: Client, ca_file: str | None) -> list[Finding]:
    """How long the certificate that the server shows is good; nothing without TLS, or where the connection already fails."""
    address = client.http.address
    if not address.secure:
        return []
    try:
        with socket.create_connection((address.host, address.port), timeout=_CONNECT_SECONDS) as plain:
            context = ssl.create_default_context(cafile=ca_file)
            with context.wrap_socket(plain, server_hostname=address.host) as wrapped:
                shown = wrapped.getpeercert(binary_form=True) or b""
        return [certificate_finding("server certificate", expires_at(shown), datetime.now(UTC))]
    except (OSError, KeyProblem):
        return []


def _health(url: str, health: Health) -> Finding:
    if health.status == "ok":
        return ok("server", f"{url} is ready")
    if health.status == "sealed":
        return problem("server", f"{url} is sealed: it answers nothing else", "run `overseer seal unseal`")
    parts = ", ".join(f"{part}: {word}" for part, word in sorted(health.checks.items()) if word != "ok")
    return problem("server", f"{url} is not ready ({parts})", "see the server's log")


def _clock(date: str | None) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return  # a proxy took the header away
    yield clock_finding("server clock", (theirs - datetime.now(UTC)).total_seconds(), "the server's")


def _keys(view: KeyringView) -> Iterator[Finding]:
    if view.rotation_due:
        yield warning("key rotation", f"term {view.newest_term} is due for rotation", "an unsealed leader does it within seconds")
    else:
        yield ok("key rotation", f"term {view.newest_term} encrypts, and is not due for rotation")
    last = view.rotation
    if last is not None and last.state == "running":
        yield ok("old terms", f"a rotation to term {last.term} is running, {last.remaining} row(s) are left")
    elif last is not None and last.remaining:
        text = f"{last.remaining} row(s) are under old terms and do not open"
        yield problem("old terms", text, "run `overseer key verify`, and restore what it names from a backup")
    else:
        yield ok("old terms", "every data key is wrapped by the newest term")

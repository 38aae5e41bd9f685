"""An identity provider for tests, as a process of its own: OpenID Connect over real HTTP on loopback, and CI job tokens as well.

``python -m tests.doubles.oidc_provider`` prints its URL (the issuer) and serves until its standard input ends. It speaks the
authorization code flow with a login form, client authentication, PKCE and a rotating key set, and it can be told (``POST
/control``) to misbehave in one way at a time: see :data:`MODES`. ``POST /sign`` signs any claims, as a CI system's issuer would.

It shares no code with the server under test: tokens are made with joserfc, everything else with the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "overseer", "client-secret-of-the-tests"
#: One at a time; '' is a provider as it should be.
MODES = (
    "",
    "wrong_issuer",
    "wrong_audience",
    "several_audiences",
    "expired",
    "not_yet_valid",
    "wrong_nonce",
    "no_nonce",
    "no_subject",
    "algorithm_none",
    "hmac_with_public_key",
    "unsigned",
    "signed_by_another_key",
    "key_in_the_header",
    "critical_header",
    "discovery_of_another_issuer",
    "token_endpoint_fails",
    "token_endpoint_redirects",
    "token_endpoint_is_huge",
    "token_endpoint_hangs",
    "no_identity_token",
    "down",
)


class Provider:
    """What it knows: users (password and claims), codes that were given, keys (the newest signs), its mode, what was asked."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.mode = ""
        self.users: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.keys: list[RSAKey] = []
        self.requests: dict[str, int] = {}
        self.rotate(keep=0)

    def rotate(self, keep: int) -> None:
        """A new key signs from now on; ``keep`` older ones stay published."""
        key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})
        self.keys = [*self.keys[len(self.keys) - keep :], key] if keep else [key]

    def sign(self, claims: dict[str, Any]) -> str:  # noqa: PLR0911  # one line a mode
        """A token with these claims, in the way of the mode."""
        key = self.keys[-1]
        header: dict[str, Any] = {"alg": "RS256", "kid": key.kid, "typ": "JWT"}
        text = jwt.encode(header, claims, key)
        first, second, third = text.split(".")
        match self.mode:
            case "algorithm_none":
                return f"{_text({**header, 'alg': 'none'})}.{second}."
            case "unsigned":
                return f"{first}.{second}."
            case "hmac_with_public_key":
                signed = f"{_text({**header, 'alg': 'HS256'})}.{second}"
                tag = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
                return f"{signed}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"
            case "signed_by_another_key":
                return jwt.encode(header, claims, RSAKey.generate_key(2048))
            case "key_in_the_header":
                other = RSAKey.generate_key(2048)
                return jwt.encode({**header, "kid": "brought", "jwk": other.as_dict(private=False)}, claims, other)
            case "critical_header":
                return f"{_text({**header, 'crit': ['exp']})}.{second}.{third}"
        return text

    def identity_token(self, user: str, nonce: str | None) -> str:
        """The identity token of a user for this client."""
        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "sub": f"subject-of-{user}"}
        claims |= self.users[user].get("claims", {})
        if nonce is not None:
            claims["nonce"] = nonce
        changes: dict[str, dict[str, Any]] = {
            "wrong_issuer": {"iss": f"{self.issuer}/"},
            "wrong_audience": {"aud": "another-client"},
            "several_audiences": {"aud": [CLIENT_ID, "another-client"]},
            "expired": {"iat": now - 7200, "exp": now - 3600},
            "not_yet_valid": {"nbf": now + 3600},
            "wrong_nonce": {"nonce": "not-the-nonce"},
        }
        claims |= changes.get(self.mode, {})
        for mode, name in (("no_nonce", "nonce"), ("no_subject", "sub")):
            if self.mode == mode:
                claims.pop(name, None)
        return self.sign(claims)

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        issuer = "https://another.example" if self.mode == "discovery_of_another_issuer" else self.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def control(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Change the mode, the users or the keys; what was asked of each path so far."""
        if "mode" in asked:
            if asked["mode"] not in MODES:
                raise ValueError("no such mode")
            self.mode = asked["mode"]
        self.users |= asked.get("users", {})
        if "rotate" in asked:
            self.rotate(keep=asked["rotate"])
        return {"requests": self.requests, "mode": self.mode}


class Handler(BaseHTTPRequestHandler):
    """One request; ``provider`` is the server's."""

    provider: Provider

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing: addresses hold codes."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self._counted(url.path):
            return
        if url.path == "/.well-known/openid-configuration":
            self._json(200, self.provider.discovery())
        elif url.path == "/jwks":
            self._json(200, {"keys": [key.as_dict(private=False) for key in self.provider.keys]})
        elif url.path == "/authorize":
            self._form({name: values[0] for name, values in parse_qs(url.query).items()}, "")
        else:
            self._json(404, {"error": "not_found"})

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if url.path == "/control":
            self._json(200, self.provider.control(json.loads(body)))
        elif url.path == "/sign":
            self._json(200, {"token": self.provider.sign(json.loads(body))})
        elif self._counted(url.path):
            pass
        elif url.path == "/authorize":
            self._authorize({name: values[0] for name, values in parse_qs(body.decode()).items()})
        elif url.path == "/token":
            self._token({name: values[0] for name, values in parse_qs(body.decode()).items()})
        else:
            self._json(404, {"error": "not_found"})

    def _counted(self, path: str) -> bool:
        """Count the request; True where the provider is down and it was answered so."""
        self.provider.requests[path] = self.provider.requests.get(path, 0) + 1
        if self.provider.mode == "down":
            self._json(503, {"error": "down"})
        return self.provider.mode == "down"

    def _form(self, asked: dict[str, str], problem: str) -> None:
        wanted = (
            "client_id",
            "redirect_uri",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "scope",
            "response_type",
        )
        right = asked.get("client_id") == CLIENT_ID and asked.get("response_type") == "code"
        if not right or asked.get("code_challenge_method") != "S256" or "openid" not in asked.get("scope", "").split():
            self._json(400, {"error": "invalid_request"})
            return
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(asked.get(name, ""), quote=True)}">' for name in wanted
        )
        page = (
            f"<!doctype html><title>Provider of the tests</title><p>{html.escape(problem)}</p>"
            f'<form method="post" action="/authorize">{hidden}'
            '<label>User <input name="username"></label><label>Password <input name="password" type="password"></label>'
            "<button>Sign in</button></form>"
        )
        self._send(200, "text/html; charset=utf-8", page.encode())

    def _authorize(self, sent: dict[str, str]) -> None:
        user = self.provider.users.get(sent.get("username", ""))
        if user is None or user["password"] != sent.get("password"):
            self._form(sent, "That is not right.")
            return
        code = secrets.token_urlsafe(24)
        self.provider.codes[code] = {**sent, "at": time.time()}
        query = urlencode({"code": code, "state": sent.get("state", ""), "iss": self.provider.issuer})
        self._send(302, "text/plain", b"", {"location": f"{sent['redirect_uri']}?{query}"})

    def _token(self, sent: dict[str, str]) -> None:
        provider = self.provider
        match provider.mode:
            case "token_endpoint_fails":
                return self._json(500, {"error": "server_error"})
            case "token_endpoint_redirects":
                return self._send(302, "text/plain", b"", {"location": f"{provider.issuer}/elsewhere"})
            case "token_endpoint_is_huge":
                return self._send(200, "application/json", b'{"id_token": "' + b"x" * (3 << 20) + b'"}')
            case "token_endpoint_hangs":
                time.sleep(30)
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if self.headers.get("authorization") != f"Basic {expected}":
            return self._json(401, {"error": "invalid_client"})
        given = provider.codes.pop(sent.get("code", ""), None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        )
        if given is None or sent.get("redirect_uri") != given["redirect_uri"] or challenge != given["code_challenge"]:
            return self._json(400, {"error": "invalid_grant"})
        answer = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 300}
        if provider.mode != "no_identity_token":
            answer["id_token"] = provider.identity_token(given["username"], given.get("nonce"))
        return self._json(200, answer)

    def _json(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, media: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": media, "content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _text(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.provider = Provider(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(Handler.provider.issuer, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

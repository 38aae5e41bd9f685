"""Starting the identity provider of the tests, telling it what to do, and going through its login form as a browser would."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class ProviderProcess:
    """A running provider; ``issuer`` is its URL."""

    issuer: str

    def control(self, **asked: Any) -> dict[str, Any]:
        """Set ``mode``, ``users`` or ``rotate`` (how many older keys stay published); what was asked of it so far."""
        answer = httpx.post(f"{self.issuer}/control", json=asked, trust_env=False, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def user(self, name: str, **claims: Any) -> None:
        """A user with the password ``password-of-NAME``."""
        self.control(users={name: {"password": f"password-of-{name}", "claims": claims}})

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims."""
        token: str = httpx.post(f"{self.issuer}/sign", json=claims, trust_env=False, timeout=60).json()["token"]
        return token

    def log_in(self, url: str, name: str) -> dict[str, str]:
        """Fill in the form at ``url`` (the authorization request); the query that the browser is sent back with."""
        with httpx.Client(trust_env=False, timeout=60) as browser:
            page = browser.get(url)
            assert page.status_code == 200, page.text
            fields = {key: unescape(value) for key, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', page.text)}
            answer = browser.post(
                f"{self.issuer}/authorize", data={**fields, "username": name, "password": f"password-of-{name}"}
            )
        assert answer.status_code == 302, answer.text
        return {key: values[0] for key, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@contextmanager
def oidc_provider() -> Iterator[ProviderProcess]:
    """A provider in a process of its own, until the end of the block."""
    command = [sys.executable, "-m", "tests.doubles.oidc_provider"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield ProviderProcess(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()

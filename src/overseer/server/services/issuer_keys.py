"""What an issuer publishes: its discovery document (OpenID Connect Discovery 1.0) and its keys, fetched when they are needed.

Guarantees: the document has to name exactly the configured issuer; endpoints in it obey the same rules as the issuer's own URL.
Keys are kept for an hour and after that fetched anew; a token that names a key which is not there makes them be fetched anew at
once (the issuer rotated), but at most once in thirty seconds, so that invented key ids make no requests. While an issuer
does not answer, keys that were fetched within a day go on to count.

Per process, in memory; concurrent requests for the same thing become one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overseer.core.errors import ConfigurationProblem, NotReady
from overseer.core.secret_value import SecretValue
from overseer.crypto.identity_tokens import PublishedKeys, Refusal, Rules, key_id, verified_claims
from overseer.server.outgoing import Outgoing
from overseer.server.sign_in_settings import check_issuer

FRESH_SECONDS: Final = 3600.0
STALE_SECONDS: Final = 86400.0
UNKNOWN_SECONDS: Final = 30.0
FAILED_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    at: float


class IssuerKeys:
    """One issuer. ``name`` is how errors call it, ``jwks_uri`` replaces discovery; ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        name: str,
        rules: Rules,
        *,
        allow_private: bool,
        ca_file: Path | None = None,
        jwks_uri: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._rules = rules
        self._jwks_uri = jwks_uri
        self._clock = clock
        self.outgoing = Outgoing(name, allow_private=allow_private, ca_file=ca_file)
        self._document: _Kept | None = None
        self._keys: _Kept | None = None
        self._failed_at = float("-inf")
        self._asked_for_unknown = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def document(self) -> dict[str, Any]:
        """The discovery document. Raises :class:`NotReady` where it cannot be had or is not this issuer's."""
        async with self._one_at_a_time:
            try:
                self._require_luck()
                return await self._fresh_document()
            except NotReady:
                self._note_failure()
                raise

    async def claims(self, token: SecretValue, seconds: float) -> dict[str, Any] | Refusal:
        """The verified claims of a token at ``seconds`` since 1970, or why it is refused. Raises :class:`NotReady`."""
        kid = key_id(token)
        if isinstance(kid, Refusal):
            return kid
        return verified_claims(token, await self._keys_for(kid), self._rules, seconds)

    def endpoint(self, document: dict[str, Any], key: str) -> str:
        """One of the document's URLs. Raises :class:`NotReady` where it is none that may be asked."""
        url = document.get(key)
        try:
            check_issuer(url if isinstance(url, str) else "")
        except ConfigurationProblem:
            raise NotReady(f"{self._name} publishes no usable {key}") from None
        return str(url)

    async def _keys_for(self, kid: str) -> PublishedKeys:
        async with self._one_at_a_time:
            now = self._clock()
            kept = self._keys
            unknown = kept is not None and kid not in kept.value and now - self._asked_for_unknown >= UNKNOWN_SECONDS
            if kept is None or now - kept.at >= FRESH_SECONDS or unknown:
                if unknown:
                    self._asked_for_unknown = now
                kept = await self._fetched_keys(kept)
            keys: PublishedKeys = kept.value
            return keys

    async def _fetched_keys(self, kept: _Kept | None) -> _Kept:
        now = self._clock()
        try:
            self._require_luck()
            url = self._jwks_uri or self.endpoint(await self._fresh_document(), "jwks_uri")
            answer = await self.outgoing.get(url)
            try:
                self._keys = _Kept(PublishedKeys.read(answer.json), now)
            except ValueError:
                raise NotReady(f"{self._name} publishes no keys") from None
        except NotReady:
            self._note_failure()
            if kept is None or now - kept.at >= STALE_SECONDS:
                raise
            return kept
        return self._keys

    def _require_luck(self) -> None:
        """Who waited behind a request that failed does not wait for another one."""
        if self._clock() - self._failed_at < FAILED_SECONDS:
            raise NotReady(f"{self._name} did not answer a moment ago; try again", retry_after=int(FAILED_SECONDS))

    def _note_failure(self) -> None:
        if self._clock() - self._failed_at >= FAILED_SECONDS:
            self._failed_at = self._clock()

    async def _fresh_document(self) -> dict[str, Any]:
        now = self._clock()
        if self._document is None or now - self._document.at >= FRESH_SECONDS:
            url = f"{self._rules.issuer.rstrip('/')}/.well-known/openid-configuration"
            answer = await self.outgoing.get(url)
            if answer.status != 200 or not isinstance(answer.json, dict) or answer.json.get("issuer") != self._rules.issuer:
                raise NotReady(f"{self._name} publishes no discovery document of the configured issuer")
            self._document = _Kept(answer.json, now)
        found: dict[str, Any] = self._document.value
        return found

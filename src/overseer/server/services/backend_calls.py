"""Asking backends: opened once for each revision of their settings, behind a deadline and a circuit breaker.

Guarantees: nothing here holds a transaction or a connection to the database while a backend is asked; a round ends by its
deadline, whatever the backend does; a backend that is away is not asked again for a while; credentials are opened here alone. It
decides nothing: callers were let through already. A failure never holds what the backend said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar
from uuid import UUID

from overseer.core.backend_references import BackendReference
from overseer.core.errors import BackendRefused, BackendUnavailable, OverseerError
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue
from overseer.crypto.envelope import decrypt
from overseer.server import measures
from overseer.server.backend_settings import AddressRules
from overseer.server.backends.contract import ABSENT, Backend, BackendFailure, Stage
from overseer.server.backends.registry import KINDS
from overseer.server.backends.service import Setup
from overseer.server.services.circuit import Circuit
from overseer.server.services.key_service import KeyService
from overseer.server.storage.backend_rows import BackendRow

RETRY_SECONDS: Final = 5
Result = TypeVar("Result")
Fetched = dict[BackendReference, SecretValue | BackendFailure]


class BackendCalls:
    """One instance a server process, used by one event loop."""

    def __init__(self, keys: KeyService, rules: AddressRules, circuit: Callable[[], Circuit] = Circuit) -> None:
        self._keys = keys
        self._rules = rules
        self._circuit = circuit
        self._opened: dict[UUID, tuple[int, Backend, Circuit]] = {}

    async def fetch(
        self, row: BackendRow, references: Sequence[BackendReference], seconds: float | None = None
    ) -> Fetched:
        """Every reference with its value or its failure; a backend that could not be asked fails all of them alike.

        ``seconds`` for the round, where the usual two requests' time is not enough.
        """
        wanted = list(dict.fromkeys(references))
        try:
            backend, circuit = await self._open(row)
            if not circuit.admits():
                raise BackendFailure(Stage.UNAVAILABLE, "it did not answer several times and is left alone for some seconds")
            found = await self._noting(circuit, row, backend.fetch_many(wanted), seconds)
        except BackendFailure as failure:
            return dict.fromkeys(wanted, failure)
        return {one: _sized(found[one]) for one in wanted}

    async def check(self, row: BackendRow) -> BackendFailure | None:
        """What is wrong, or None. The circuit does not hold this off: somebody wants to know now."""
        try:
            backend, circuit = await self._open(row)
            await self._noting(circuit, row, backend.check())
        except BackendFailure as failure:
            return failure
        return None

    async def list(self, row: BackendRow, folder: str, seconds: float | None = None) -> list[str]:
        """What is in ``folder``. Raises :class:`BackendUnavailable` and :class:`BackendRefused`."""
        try:
            backend, circuit = await self._open(row)
            return list(await self._noting(circuit, row, backend.list(folder), seconds))
        except BackendFailure as failure:
            raise as_error(row.name, failure) from None

    def resting(self, backend_id: UUID) -> bool:
        """True while this process leaves the backend alone, because it failed several times in a row."""
        held = self._opened.get(backend_id)
        return held is not None and held[2].open

    async def _noting(
        self, circuit: Circuit, row: BackendRow, call: Awaitable[Result], seconds: float | None = None
    ) -> Result:
        failure: BackendFailure | None = None
        try:
            async with asyncio.timeout(seconds or 2 * row.timeout):
                found = await call
            failure = _absence(found)
            return found
        except TimeoutError:
            failure = BackendFailure(Stage.TIMEOUT, "it does not answer in time")
            raise failure from None
        except BackendFailure as error:
            failure = error
            raise
        finally:
            absent = failure is not None and failure.stage in ABSENT
            circuit.note(well=not absent)
            measures.BACKEND_CALLS.labels(row.kind, failure.stage.value if failure else "ok").inc()

    async def _open(self, row: BackendRow) -> tuple[Backend, Circuit]:
        held = self._opened.get(row.id)
        if held is not None and held[0] == row.revision:
            return held[1:]
        keyring = await self._keys.keyring_for({row.credentials.term})
        text = decrypt(row.credentials, row.context(keyring.instance_id), keyring)
        setup = Setup(row.name, row.settings, json.loads(text.reveal()), self._rules, float(row.timeout))
        kind = KINDS.get(row.kind)
        if kind is None:
            raise BackendFailure(Stage.ANSWER, "this version of Overseer does not know its kind")
        backend, circuit = kind.open(setup), self._circuit()
        self._opened[row.id] = (row.revision, backend, circuit)
        return backend, circuit


def as_error(name: str, failure: BackendFailure, retry_after: int = RETRY_SECONDS) -> OverseerError:
    """The error that an edge shows for a failure of the backend ``name``."""
    message = f"backend {name} ({failure.stage.value}): {failure.why}"
    if failure.stage in ABSENT:
        return BackendUnavailable(message, retry_after=retry_after)
    return BackendRefused(message)


def _absence(found: object) -> BackendFailure | None:
    """The failure of a round in which not one reference came to an answer."""
    values = list(found.values()) if isinstance(found, Mapping) else []
    absent = [one for one in values if isinstance(one, BackendFailure) and one.stage in ABSENT]
    return absent[0] if values and len(absent) == len(values) else None


def _sized(found: SecretValue | BackendFailure) -> SecretValue | BackendFailure:
    if isinstance(found, SecretValue) and len(found) > MAX_VALUE_BYTES:
        return BackendFailure(Stage.TOO_LARGE, f"a value there is longer than {MAX_VALUE_BYTES} bytes")
    return found

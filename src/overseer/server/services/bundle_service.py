"""Bundles: the Compose files of an app, stored encrypted and addressed by an HMAC, so that a deployment can pin one.

Writing one is a permission of its own (``app:bundle_write``): who writes Compose text *and* may use a secret can print it.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, DecryptionFailed, ReferencesRefused
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.crypto.envelope import PACK_PATH, BundleFileContext, EncryptedValue, decrypt
from overseer.crypto.keyring import Purpose
from overseer.server.services.bundle_packing import PackedBundle, read_message, unpack
from overseer.server.services.bundle_scanning import scan_bundle
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.storage import deployment_rows
from overseer.server.storage.deployment_rows import BundleRow, BundleSummary
from overseer.server.storage.scope_rows import Part, PartRow, part_by_name
from overseer.wire.deployments import BundleCreate, BundleView
from overseer.wire.messages import Page


class BundleService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency

    async def create_bundle(
        self, caller: Caller, app: str, body: BundleCreate, idempotency: Idempotency | None = None
    ) -> BundleView:
        """Store a bundle; the same content gives the same digest and is stored once.

        Raises :class:`ReferencesRefused` with every problem and its place, :class:`InvalidInput`, :class:`TooLarge`.
        """
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.BUNDLE_CREATE) as entry:
            await self._app(entry, app, Permission.APP_BUNDLE_WRITE)
            packed = read_message(body)
            entry.postpone()
        # What only a deployment can decide (persisting places) is left to it; everything else is refused here and now.
        scan = await scan_bundle(packed.bundle(), allow_persisting=True)
        async with self._gate.enter(caller, AuditAction.BUNDLE_CREATE) as entry:
            place = await self._app(entry, app, Permission.APP_BUNDLE_WRITE)
            if scan.problems:
                raise ReferencesRefused("the bundle has problems; nothing was stored", problems=scan.problems)
            first = await self._idempotency.first_result(entry, idempotency, target=place.id)
            if first is not None:
                row = await deployment_rows.bundle_by_id(entry.session, first.resource_id)
                if row is None:
                    raise Conflict("the bundle that this idempotency key made was deleted meanwhile")
            else:
                row = await self._store(entry, place, packed)
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=row.id, target=place.id)
            entry.amend(resource_id=row.id)
        return _view(row, [str(reference) for reference in scan.references])

    async def list_bundles(
        self, caller: Caller, app: str, cursor: str | None = None, limit: int = 100
    ) -> Page[BundleView]:
        """The bundles of an app, newest first, without their content."""
        async with self._gate.enter(caller, AuditAction.BUNDLE_LIST) as entry:
            place = await self._app(entry, app, Permission.DEPLOYMENT_LIST)
            before = None if cursor is None else read_id_cursor(cursor)
            check_limit(limit)
            rows = await deployment_rows.bundle_page(entry.session, place.id, before, limit + 1)
        following = write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None
        return Page(items=[_view(row, []) for row in rows[:limit]], next_cursor=following)

    async def open(self, row: BundleRow, released: AuditEvent | None = None) -> PackedBundle:
        """The content of a stored bundle, for other services only. Raises :class:`DecryptionFailed` naming the bundle.

        ``released`` is the committed row that a failure corrects; None inside a transaction that fails as a whole.
        """
        keyring = await self._keys.keyring_for([row.kek_term])
        context = BundleFileContext(keyring.instance_id, row.id, row.app_id, PACK_PATH)
        try:
            return unpack(decrypt(EncryptedValue(row.format, row.kek_term, row.wrapped_dek, row.ciphertext), context, keyring))
        except DecryptionFailed as error:
            if released is not None:
                await self._gate.append([replace(released, outcome=Outcome.FAILED, code=error.code)])
            raise

    async def _app(self, entry: Entry, name: str, permission: Permission) -> PartRow:
        place = await part_by_name(entry.session, Part.APP, name)
        if place is None:
            entry.missing(Resource("app", name))
        resource = Resource("app", name, Scope(app=place.id), place.id, Scope(app=name))
        entry.authorise(permission, resource, hide_without=Permission.APP_LIST)
        return place

    async def _store(self, entry: Entry, place: PartRow, packed: PackedBundle) -> BundleRow:
        keyring = self._keys.keyring
        bundle_id: UUID = new_id(entry.now)
        digest = packed.address(keyring.hmac_key(Purpose.BUNDLE_ADDRESS), place.id)
        known = await deployment_rows.bundle_by_digest(entry.session, place.id, digest)
        if known is not None:
            return known
        sealed = self._keys.encrypt(packed.packed(), BundleFileContext(keyring.instance_id, bundle_id, place.id, PACK_PATH))
        row = BundleRow(
            id=bundle_id,
            app_id=place.id,
            app=place.name,
            digest=digest,
            format=sealed.format,
            kek_term=sealed.term,
            wrapped_dek=sealed.wrapped_dek,
            ciphertext=sealed.ciphertext,
            size=packed.size,
            created_at=entry.now,
        )
        await deployment_rows.insert_bundle(entry.session, row, entry.actor.id)
        stored = await deployment_rows.bundle_by_digest(entry.session, place.id, digest)
        if stored is None:
            raise Conflict("the bundle was deleted at this moment; try again")
        return stored


def _view(row: BundleRow | BundleSummary, references: list[str]) -> BundleView:
    return BundleView(
        id=str(row.id), app=row.app, digest=row.digest, size=row.size, references=references, created_at=row.created_at
    )

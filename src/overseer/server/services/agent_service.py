"""What an agent may do: take the work of its own node, get the values of a deployment sealed to its key, and report.

A node reaches only deployments that were made for it, and through them only the versions that were chosen then. Each release
writes one audit row for the deployment and one for each secret, on behalf of whoever made the deployment, before anything is
decrypted. What a container holds is compared by fingerprint; the fingerprints themselves are not kept.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.errors import Conflict, InvalidInput, NotReady, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.sealed_bundle import BundleContext, BundleRequest, seal_bundle
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_values import ReferencedVersion, open_references, referenced_versions
from overseer.server.services.deployment_views import deployment_view
from overseer.server.services.fingerprint_comparison import compare, fingerprint_key
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.services.work_watch import Woken, WorkWatch
from overseer.server.storage import deployment_rows, node_rows, refill_rows
from overseer.server.storage.deployment_rows import BundleRow, DeploymentRow, DeploymentSecretRow, WorkRow
from overseer.wire.agent import (
    PAYLOAD_FORMAT,
    LostAnswer,
    LostRequest,
    PayloadFile,
    PayloadValue,
    PollAnswer,
    PollRequest,
    ReleaseAnswer,
    ReleasePayload,
    ReleaseRequest,
    Work,
)
from overseer.wire.agent import DeploymentReport as Report
from overseer.wire.deployments import DeploymentView

MAX_WAIT_SECONDS: Final = 55
MAX_ATTEMPTS: Final = 3
MAX_LOST: Final = 200
LEASE: Final = timedelta(minutes=10)
SEALED_FOR: Final = timedelta(minutes=2)
MAX_OUTPUT: Final = 64 * 1024
TOO_MANY_ATTEMPTS: Final = f"the agent began this deployment {MAX_ATTEMPTS} times and never ended it"
FINAL_STATES: Final = frozenset({"succeeded", "failed"})


class AgentService:
    """See the module's text."""

    def __init__(
        self,
        gate: Gate,
        keys: KeyService,
        opener: ValueOpener,
        bundles: BundleService,
        signal: WorkSignal,
        rollouts: RolloutDriver,
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._bundles = bundles
        self._watch = WorkWatch(gate, signal)
        self._rollouts = rollouts

    async def poll(self, caller: Caller, body: PollRequest, ended: asyncio.Event | None = None) -> PollAnswer:
        """Wait for work of the caller's node, at most ``wait_seconds``. An empty answer leaves no audit row.

        A newer poll of the node ends this one with an empty answer. ``ended`` ends the wait, never a look that has begun, so that
        none goes without its row: then :class:`NotReady`.
        """
        busy = [_id(text, f"body.busy[{number}]") for number, text in enumerate(body.busy)]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(max(body.wait_seconds, 0), MAX_WAIT_SECONDS)
        node_id, work = await self._take(caller, body, busy, note_seen=True)
        while not work and (left := deadline - loop.time()) > 0:
            woken = await self._watch.wait(node_id, busy, ended or asyncio.Event(), left)
            if woken is Woken.ENDED:
                raise NotReady("the server is stopping; ask again", retry_after=1)
            if woken is Woken.REPLACED:
                break
            _, work = await self._take(caller, body, busy, note_seen=False)
        return PollAnswer(work=[_work(row) for row in work])

    async def _take(
        self, caller: Caller, body: PollRequest, busy: list[UUID], *, note_seen: bool
    ) -> tuple[UUID, list[WorkRow]]:
        async with self._gate.enter(caller, AuditAction.NODE_POLL) as entry:
            node_id = entry.actor.node_id
            entry.authorise(Permission.NODE_SERVE, own_node(entry))
            if node_id is None:
                raise Conflict("only a node's own token polls for work")
            if note_seen:
                await node_rows.node_seen(entry.session, node_id, body.agent_version[:64])
                await deployment_rows.keep(entry.session, node_id, busy, LEASE)
            taken = []
            for row in await deployment_rows.open_work(entry.session, node_id, busy):
                if await deployment_rows.hand_out(entry.session, row.id, MAX_ATTEMPTS, TOO_MANY_ATTEMPTS, LEASE):
                    taken.append(row)
            if not taken:
                entry.drop_row()
            return node_id, taken

    async def lost(self, caller: Caller, body: LostRequest) -> LostAnswer:
        """Which of the node's deployments may be released again after its memory lost their files. Leaves no audit row itself."""
        async with self._gate.enter(caller, AuditAction.NODE_POLL) as entry:
            node_id = entry.actor.node_id
            entry.authorise(Permission.NODE_SERVE, own_node(entry))
            if len(body.deployments) > MAX_LOST:
                raise InvalidInput(f"at most {MAX_LOST} deployments in a request")
            ids = [_id(text, f"body.deployments[{number}]") for number, text in enumerate(body.deployments)]
            if node_id is None:
                raise Conflict("only a node's own token asks for what it lost")
            found = await refill_rows.refillable(entry.session, node_id, ids)
            entry.drop_row()
        return LostAnswer(refill=[_work(row) for row in found])

    async def release(self, caller: Caller, deployment_id: UUID, body: ReleaseRequest) -> ReleaseAnswer:
        """The files and values of a deployment, sealed to the node's key and signed, bound to the agent's nonce.

        One that has ended is released once more only while it is what runs on the node and nothing newer is under way. Raises
        :class:`Unavailable` for a deployment of another node, :class:`Conflict` for any other that has ended or whose secrets are
        gone, :class:`DecryptionFailed` naming the secret.
        """
        nonce = _nonce(body.nonce)
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_RELEASE) as entry:
            row = await self._own(entry, deployment_id)
            again = not row.open and bool(await refill_rows.refillable(entry.session, row.node_id, [row.id]))
            if not (row.open or again) or row.bundle_id is None:
                raise Conflict("this deployment has ended, or has nothing to release")
            bundle = await deployment_rows.bundle_by_id(entry.session, row.bundle_id)
            keys = await node_rows.live_keys(entry.session, row.node_id)
            secrets = (await deployment_rows.secrets_of(entry.session, [row.id]))[row.id]
            references = await referenced_versions(entry.session, secrets)
            if bundle is None or keys is None or keys.encryption_key is None:
                raise Conflict("the bundle or the node's key is gone")
            gone = [one.row.reference for one in references if one.stored is None]
            if gone:
                rule = "the secret was deleted after the deployment was made"
                problems = [Problem(reference, rule, "gone") for reference in gone]
                raise Conflict("secrets of this deployment are gone: deploy again", problems=problems)
            entry.amend(on_behalf_of=row.created_by, code="refill" if again else "")
            for secret in secrets:
                entry.accept(_secret(row, secret))
                entry.amend(on_behalf_of=row.created_by)
            if row.open:
                await deployment_rows.mark_released(entry.session, row.id, LEASE)
            expires_at = entry.now + SEALED_FOR
        payload = await self._payload(row, bundle, references, entry.events)
        request = BundleRequest(self._keys.instance_id, row.node_id, row.id, nonce)
        sealed = seal_bundle(
            SecretValue(msgspec.msgpack.encode(payload)),
            BundleContext(request, expires_at),
            keys.encryption_key,
            self._keys.keyring.signing_key,
        )
        return ReleaseAnswer(sealed=base64.b64encode(sealed).decode("ascii"), expires_at=expires_at)

    async def report(self, caller: Caller, deployment_id: UUID, body: Report) -> DeploymentView:
        """What the agent did. :class:`Conflict` where the deployment has ended already (a revoked node, a silent agent)."""
        if body.state not in FINAL_STATES | {"applying"}:
            rule = "state is applying, succeeded or failed"
            raise InvalidInput(rule, problems=[Problem("body.state", rule, "bad_state")])
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_REPORT) as entry:
            row = await self._own(entry, deployment_id)
            if not row.open:
                raise Conflict(f"this deployment has ended already ({row.state})")
            secrets = (await deployment_rows.secrets_of(entry.session, [row.id]))[row.id]
            references = await referenced_versions(entry.session, secrets)
            services = [msgspec.to_builtins(service) for service in body.services]
            await deployment_rows.write_report(
                entry.session, row.id, body.state, body.output[:MAX_OUTPUT], body.error[:2000], services, LEASE
            )
            entry.amend(code=body.state)
            if body.fingerprints:
                event = entry.events[-1]
                matches = await compare(self._keys, self._opener, row.id, references, body.fingerprints, event)
                await deployment_rows.write_matches(entry.session, row.id, matches)
            after = await deployment_rows.deployment_by_id(entry.session, row.id)
            secrets = (await deployment_rows.secrets_of(entry.session, [row.id]))[row.id]
        if body.state in FINAL_STATES:
            # In a transaction of its own: its locks come before that of this deployment.
            await self._rollouts.advance(caller.request_id, row.node_id)
        return deployment_view(after or row, secrets)

    async def _own(self, entry: Entry, deployment_id: UUID) -> DeploymentRow:
        row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
        if row is None or row.node_id != entry.actor.node_id:
            # Also for a principal that is no node at all: it must not learn which deployments there are.
            resource = Resource("deployment", id=deployment_id) if row is None else _deployment(row)
            entry.refuse(resource, "unavailable" if row is None else "other_node")
            entry.hide("deployment")
        entry.authorise(Permission.NODE_SERVE, _deployment(row))
        # Locked only now, and read again: who may not touch it must not hold it up either.
        locked = await deployment_rows.deployment_by_id(entry.session, deployment_id, lock=True)
        if locked is None:
            entry.hide("deployment")
        return locked

    async def _payload(
        self, row: DeploymentRow, bundle: BundleRow, references: list[ReferencedVersion], events: list[AuditEvent]
    ) -> ReleasePayload:
        """What to seal; ``events`` are the committed rows: the deployment's, then one for each reference."""
        packed = await self._bundles.open(bundle, events[0])
        values = await open_references(self._opener, references, events[1:])
        return ReleasePayload(
            format=PAYLOAD_FORMAT,
            files=[PayloadFile(path=file.path, content=file.content) for file in packed.files],
            compose_files=packed.compose_files,
            profiles=packed.profiles,
            variables=packed.variables,
            values=[
                PayloadValue(
                    reference=one.row.reference,
                    name=one.row.secret_name,
                    version=one.row.version,
                    value=values[one.row.reference].reveal(),
                    secret_id=str(one.row.secret_id),
                )
                for one in references
            ],
            fingerprint_key=fingerprint_key(self._keys, row.id).reveal(),
            allow_persisting=bool(row.options.get("allow_persisting")),
        )


def own_node(entry: Entry) -> Resource:
    """The node that the caller speaks for, as what ``node:serve`` is asked over."""
    actor = entry.actor
    name = actor.name if actor.node_id else ""
    return Resource("node", name, Scope(node=actor.node_id), actor.node_id, Scope(node=name or None))


def _deployment(row: DeploymentRow) -> Resource:
    return Resource("deployment", row.app, row.scope, row.id, row.scope_names)


def _secret(row: DeploymentRow, secret: DeploymentSecretRow) -> Resource:
    """The secret as the log names it: released for this place, whatever scope it lives at."""
    return Resource("secret", secret.secret_name, id=secret.secret_id, scope_names=row.scope_names, version=secret.version)


def _work(row: WorkRow) -> Work:
    return Work(
        deployment_id=str(row.id),
        action=row.action,
        app=row.app,
        environment=row.environment,
        project=row.project,
        wait_timeout=int(row.options.get("wait_timeout", 60)),
        attempt=row.attempts + 1,
        target=row.options.get("target", "compose"),
    )


def _id(text: str, place: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f"{place}: a UUID", problems=[Problem(place, "a UUID", "bad_id")]) from None


def _nonce(text: str) -> bytes:
    rule = "nonce is standard base64 of 32 random bytes"
    try:
        nonce = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        nonce = b""
    if len(nonce) != 32:
        raise InvalidInput(rule, problems=[Problem("body.nonce", rule, "bad_nonce")])
    return nonce

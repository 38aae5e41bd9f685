"""Every public method of every service, and arguments that make sense to each: found by inspection, not from a list.

A new method is called like the others. One that takes no caller, or whose arguments cannot be made from the samples, fails
the test that enumerates, so that nobody forgets it.
"""

from __future__ import annotations

import base64
import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any
from uuid import UUID

import msgspec

from overseer.server.services.catalogue import Services
from overseer.server.services.idempotency import Idempotency
from overseer.wire.agent import ConfirmRequest, EnrolRequest, KeysRequest, LostRequest, ReleaseRequest
from overseer.wire.approvals import ApprovalCreate
from overseer.wire.deployments import BundleFile, DeploymentCreate
from overseer.wire.migrations import MigrationExport
from overseer.wire.reviews import AccessExplainRequest

#: Methods for the server itself: they take no caller because no edge may call them, or because they tell nothing.
INTERNAL = {
    "audit_retention.fold",
    "audit_retention.run",
    "source_refresh.due",
    "source_refresh.judge",
    "source_refresh.refresh",
    "source_refresh.run",
    "source_refresh.store",
    "audit_sealer.run",
    "audit_sealer.seal",
    "audit_self_check.run",
    "backup_schedule.run",
    "bundles.open",
    "people_housekeeping.run",
    "health.check",
    "housekeeping.run",
    "key_rotation.run",
    "keys.keyring_for",
    "keys.open",
    "keys.prepare_to_encrypt",
    "keys.refresh",
    "keys.reread",
    "keys.unlock",
    "oidc.begin",
    "rotation_driver.run",
    "seal.status",
}
#: The credential is in the body, so a caller's rights do not count; see the reasons at their routes.
OPEN = {
    "enrolment.enrol",
    "enrolment.confirm",
    "enrolment.authenticate",
    "ci.exchange",
    "oidc.finish",
    "seal.unseal",
    "sign_in.sign_in",
    "sign_in.accept_invitation",
}
#: Any live credential may ask who it is, see and end its own sessions, see what it asked others to approve, and change its own
#: account.
SELF = {
    "approvals.list_approvals",
    "account.change_password",
    "account.confirm_totp",
    "account.remove_totp",
    "account.renew_recovery_codes",
    "account.start_totp",
    "identity.me",
    "sessions.list_own_sessions",
    "sessions.sign_out",
}

_B32 = base64.b64encode(bytes(32)).decode()
_SPECIAL: dict[type, msgspec.Struct] = {
    ApprovalCreate: ApprovalCreate(action="create", name="db-password", app="shop", reason="a new one is needed"),
    AccessExplainRequest: AccessExplainRequest(principal="ci", permission="secret:reveal", name="db-password", app="shop"),
    EnrolRequest: EnrolRequest(
        token="ovse_x", encryption_key=_B32, signing_key=_B32, nonce=_B32, proof=base64.b64encode(bytes(64)).decode()
    ),
    ConfirmRequest: ConfirmRequest(key_id=str(UUID(int=9)), response=_B32),
    MigrationExport: MigrationExport(
        recipients=["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"], everything=True
    ),
    ReleaseRequest: ReleaseRequest(nonce=_B32),
    LostRequest: LostRequest(deployments=[str(UUID(int=9))]),
    KeysRequest: KeysRequest(
        encryption_key=_B32,
        signing_key=_B32,
        nonce=_B32,
        old_proof=base64.b64encode(bytes(64)).decode(),
        new_proof=base64.b64encode(bytes(64)).decode(),
    ),
}


@dataclass(frozen=True)
class Method:
    """``name`` as ``service.method``; ``call`` is bound."""

    name: str
    call: Callable[..., Awaitable[Any]]

    @property
    def takes_caller(self) -> bool:
        return "caller" in inspect.signature(self.call).parameters


def every_method(services: Services) -> list[Method]:
    """All public coroutine methods of the catalogue."""
    found = []
    for field in dataclasses.fields(services):
        service = getattr(services, field.name)
        for name, function in inspect.getmembers(type(service), inspect.iscoroutinefunction):
            if not name.startswith("_") and function.__module__.startswith("overseer."):
                found.append(Method(f"{field.name}.{name}", getattr(service, name)))
    return found


def arguments(method: Method, samples: dict[str, Any]) -> dict[str, Any]:
    """An argument for each required parameter but the caller; ``samples`` by parameter or field name."""
    hints = typing.get_type_hints(method.call, localns={"Idempotency": Idempotency})
    made = {}
    for name, parameter in inspect.signature(method.call).parameters.items():
        if name == "caller" or (parameter.default is not inspect.Parameter.empty):
            continue
        made[name] = _sample(hints[name], name, samples)
    return made


def _sample(hint: Any, name: str, samples: dict[str, Any]) -> Any:
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return None
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint, samples)
    if name not in samples:
        raise AssertionError(f"no sample for the parameter {name}: add one, so that the new method is tested like the others")
    return samples[name]


def _struct(kind: type[msgspec.Struct], samples: dict[str, Any]) -> msgspec.Struct:
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    fields = {
        field.name: _field(field, samples)
        for field in msgspec.structs.fields(kind)
        if field.required or field.name in ("value", "names") or (kind, field.name) == (DeploymentCreate, "node")
    }
    return kind(**fields)


def _field(field: msgspec.structs.FieldInfo, samples: dict[str, Any]) -> Any:
    if field.name == "files":
        return [BundleFile(path="compose.yaml", content="services: {a: {image: x}}\n")]
    if field.name not in samples:
        raise AssertionError(f"no sample for the field {field.name}: add one, so that the new message is tested like the others")
    return samples[field.name]

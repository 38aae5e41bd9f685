"""Every kind of rotator by its name. A driver is loaded when a rotator of its kind is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, cast

from overseer.core.errors import InvalidInput, Problem
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import Rotator

#: Kind → module and class, and what people read of it.
KINDS: Final[dict[str, tuple[str, str, str]]] = {
    "mysql": ("mysql", "MysqlRotator", "MySQL and MariaDB: mysql://HOST[:PORT]; one user, or two that take turns"),
    "postgresql": ("postgresql", "PostgresqlRotator", "PostgreSQL: postgresql://HOST[:PORT]/DATABASE; one role, or two in turns"),
    "rabbitmq": ("rabbitmq", "RabbitmqRotator", "RabbitMQ: https://HOST:15672, the management API; one user, or two in turns"),
    "redis": ("redis", "RedisRotator", "Redis 6 or later: rediss://HOST[:PORT]; one ACL user, which has two passwords meanwhile"),
    "webhook": ("webhook", "WebhookRotator", "a program of yours: https://HOST/PATH, a signed request for each step"),
}
#: Field → meaning; ``kind``, ``url`` and ``admin`` are needed.
FIELDS: Final[dict[str, str]] = {
    "kind": "one of the kinds above",
    "url": "where it is; no credential in it. Without TLS: postgresql+plain, mysql+plain, redis, http",
    "admin": "id of the secret that may change credentials there: username and password as JSON, or a password; a webhook's key",
    "admin_user": "the administrator's name where that secret is a password alone",
    "users": "whose password is changed: one user, or two that take turns (none for a webhook)",
    "field": "where the password stands in a value that is a JSON object; default password",
    "ca": "PEM text of the only CA to trust; default: those of the system",
    "persist": "Redis: false where somebody else saves its ACL",
    "both_work": "webhook: true where old and new credential work at the same time",
}
_FLAGS: Final = ("persist", "both_work")


def make_rotator(fields: Mapping[str, Any], rule: AddressRule) -> Rotator:
    """The rotator that ``fields`` describe. Raises :class:`InvalidInput` with the rule that one breaks."""
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _wrong(f"kind is one of {', '.join(KINDS)}", "kind")
    if not fields.keys() <= FIELDS.keys():
        raise _wrong(f"the fields of a rotator are {', '.join(FIELDS)}", "kind")
    if not all(isinstance(fields[name], bool) for name in _FLAGS if name in fields):
        raise _wrong(f"{' and '.join(_FLAGS)} are true or false", "kind")
    if not isinstance(fields.get("admin_user"), str | None):
        raise _wrong("admin_user is text", "admin_user")
    module, name, _ = KINDS[kind]
    made = getattr(import_module(f"overseer.server.rotators.{module}"), name)
    return cast("Rotator", made(fields, rule))


def _wrong(rule: str, field: str) -> InvalidInput:
    return InvalidInput(rule, problems=[Problem(f"body.rotator.{field}", rule, "bad_rotator")])

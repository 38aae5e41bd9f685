"""Bindings between their text (``"*"``, ``"-"``, a name) and the form that the gate decides with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.backend_references import is_grant_pattern
from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import NAME_RULE, is_name, new_id
from overseer.core.principals import PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.services.moments import in_utc
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.database import Session
from overseer.server.storage.membership_rows import group_id_by_name
from overseer.server.storage.scope_rows import find_scope
from overseer.wire.access import BindingCreate, BindingView

ANY = "*"
UNSET = "-"
MIN_ACTIVE_SECONDS: Final = 60
MAX_ACTIVE_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is to hold it; ``kind`` is principal or group."""

    id: UUID
    kind: str


@dataclass(frozen=True, slots=True)
class ReadBinding:
    """A request as far as it could be read; :meth:`complete` raises what was wrong, after the gate has decided."""

    pattern_text: str
    resource_scope: Scope[UUID]
    scope_names: Scope[str]
    binding: Binding | None
    subject: Subject | None
    role_id: UUID | None
    problems: tuple[Problem, ...]

    def complete(self) -> tuple[Binding, Subject, UUID]:
        """The binding as it is at most, its subject and its role; :class:`InvalidInput` with every problem."""
        if self.problems or self.binding is None or self.subject is None or self.role_id is None:
            raise InvalidInput("the binding cannot be made", problems=self.problems)
        return self.binding, self.subject, self.role_id


async def read_binding(entry: Entry, body: BindingCreate) -> ReadBinding:
    """Look up the names of a request. Raises nothing: refusal comes first, complaints after it."""
    texts = {"app": body.app, "environment": body.environment, "node": body.node}
    names = Scope(**{part: text if text not in (ANY, UNSET) else None for part, text in texts.items()})
    found = await find_scope(entry.session, names)
    problems = [
        Problem(f"body.{part.value}", f"no {part.value} has that name: make it first; '*' means any and '-' none set", "unknown")
        for part in found.missing
    ]
    pattern = NamePattern.parse(body.name)
    named = is_name(pattern.name) or is_grant_pattern(pattern.name)
    if (pattern.name and not named) or (not pattern.name and not pattern.is_prefix):
        rule = f"a name or a prefix ending in '*', or BACKEND:REFERENCE for backend:use; {NAME_RULE}"
        problems.append(Problem("body.name", rule, "bad_pattern"))
    expires_at = None if body.expires_at is None else in_utc(body.expires_at)
    if body.expires_at is not None and (expires_at is None or expires_at <= entry.now):
        problems.append(Problem("body.expires_at", "a time with a zone, in the future", "bad_expiry"))
    if body.active_seconds is not None and not MIN_ACTIVE_SECONDS <= body.active_seconds <= MAX_ACTIVE_SECONDS:
        rule = f"an emergency lasts {MIN_ACTIVE_SECONDS} to {MAX_ACTIVE_SECONDS} seconds"
        problems.append(Problem("body.active_seconds", rule, "bad_expiry"))
    subject = await _subject(entry, body, problems)
    role = await rows.role_by_name(entry.session, body.role)
    if role is None:
        problems.append(Problem("body.role", "there is no role of that name; 'overseer role list' shows them", "unknown"))
    binding = None
    if not problems and role is not None:
        binding = Binding(
            id=new_id(entry.now),
            permissions=role.permissions,
            app=to_selector(body.app, found.scope.app),
            environment=to_selector(body.environment, found.scope.environment),
            node=to_selector(body.node, found.scope.node),
            pattern=pattern,
            expires_at=expires_at,
        )
    return ReadBinding(
        pattern_text=body.name,
        resource_scope=found.scope,
        scope_names=names,
        binding=binding,
        subject=subject,
        role_id=role.id if role else None,
        problems=tuple(problems),
    )


async def _subject(entry: Entry, body: BindingCreate, problems: list[Problem]) -> Subject | None:
    if (body.principal is None) == (body.group is None):
        problems.append(Problem("body.principal", "give exactly one of principal and group", "one_of"))
        return None
    if body.group is not None:
        group = await group_id_by_name(entry.session, body.group)
        if group is None:
            problems.append(Problem("body.group", "there is no group of that name", "unknown"))
        return None if group is None else Subject(group, "group")
    found = await person_by_name(entry.session, body.principal or "")
    if found is None:
        problems.append(Problem("body.principal", "there is no service account and no user of that name", "unknown"))
    return None if found is None else Subject(found.id, "principal")


async def person_by_name(session: Session, name: str) -> rows.PrincipalRow | None:
    """The service account or the user of that name; the two share their names."""
    account = await rows.principal_by_name(session, PrincipalKind.SERVICE_ACCOUNT, name)
    return account or await rows.principal_by_name(session, PrincipalKind.USER, name)


def binding_view(row: rows.BindingRow, now: datetime) -> BindingView:
    """A binding as people read it at the moment ``now``."""
    binding = row.binding
    emergency = row.active_seconds is not None
    active = emergency and binding.expires_at is not None and binding.expires_at > now
    return BindingView(
        id=str(binding.id),
        principal=row.subject,
        principal_id=str(row.subject_id),
        role=row.role,
        app=selector_text(binding.app, row.app),
        environment=selector_text(binding.environment, row.environment),
        node=selector_text(binding.node, row.node),
        name=str(binding.pattern),
        expires_at=row.at_most.expires_at,
        created_at=row.created_at,
        subject_kind=row.subject_kind,
        active_seconds=row.active_seconds,
        active_until=binding.expires_at if active else None,
    )


def to_selector(text: str, part_id: UUID | None) -> PartSelector:
    """One part of a selector from its text; ``part_id`` is that of the part of that name."""
    if text == ANY:
        return PartSelector(Match.ANY)
    return PartSelector(Match.UNSET) if text == UNSET else PartSelector(Match.IS, part_id)


def selector_text(selector: PartSelector, name: str | None) -> str:
    """The text of one part; ``name`` is that of the part it names."""
    return {Match.ANY: ANY, Match.UNSET: UNSET}.get(selector.match, name or "")

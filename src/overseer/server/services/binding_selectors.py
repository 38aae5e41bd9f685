"""Bindings between their text (``"*"``, ``"-"``, a name) and the form that the gate decides with."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import NAME_RULE, is_name, new_id
from overseer.core.principals import PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.services.moments import in_utc
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.scope_rows import find_scope
from overseer.wire.access import BindingCreate, BindingView

ANY = "*"
UNSET = "-"


@dataclass(frozen=True, slots=True)
class ReadBinding:
    """A request as far as it could be read; :meth:`complete` raises what was wrong, after the gate has decided."""

    pattern_text: str
    resource_scope: Scope[UUID]
    scope_names: Scope[str]
    binding: Binding | None
    subject_id: UUID | None
    role_id: UUID | None
    problems: tuple[Problem, ...]

    def complete(self) -> tuple[Binding, UUID, UUID]:
        """The binding, its subject and its role; :class:`InvalidInput` with every problem."""
        if self.problems or self.binding is None or self.subject_id is None or self.role_id is None:
            raise InvalidInput("the binding cannot be made", problems=self.problems)
        return self.binding, self.subject_id, self.role_id


async def read_binding(entry: Entry, body: BindingCreate) -> ReadBinding:
    """Look up the names of a request. Raises nothing: refusal comes first, complaints after it."""
    texts = {"app": body.app, "environment": body.environment, "node": body.node}
    names = Scope(**{part: text if text not in (ANY, UNSET) else None for part, text in texts.items()})
    found = await find_scope(entry.session, names)
    problems = [
        Problem(f"body.{part.value}", f"there is no {part.value} of that name; '*' means any and '-' means none set", "unknown")
        for part in found.missing
    ]
    pattern = NamePattern.parse(body.name)
    if (pattern.name and not is_name(pattern.name)) or (not pattern.name and not pattern.is_prefix):
        problems.append(Problem("body.name", f"a name or a prefix ending in '*'; {NAME_RULE}", "bad_pattern"))
    expires_at = None if body.expires_at is None else in_utc(body.expires_at)
    if body.expires_at is not None and (expires_at is None or expires_at <= entry.now):
        problems.append(Problem("body.expires_at", "a time with a zone, in the future", "bad_expiry"))
    principal = await rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, body.principal)
    if principal is None:
        problems.append(Problem("body.principal", "there is no service account of that name", "unknown"))
    role = await rows.role_by_name(entry.session, body.role)
    if role is None:
        problems.append(Problem("body.role", "there is no role of that name; 'overseer role list' shows them", "unknown"))
    binding = None
    if not problems and role is not None:
        binding = Binding(
            id=new_id(entry.now),
            permissions=role.permissions,
            app=_selector(body.app, found.scope.app),
            environment=_selector(body.environment, found.scope.environment),
            node=_selector(body.node, found.scope.node),
            pattern=pattern,
            expires_at=expires_at,
        )
    return ReadBinding(
        pattern_text=body.name,
        resource_scope=found.scope,
        scope_names=names,
        binding=binding,
        subject_id=principal.id if principal else None,
        role_id=role.id if role else None,
        problems=tuple(problems),
    )


def binding_view(row: rows.BindingRow) -> BindingView:
    """A binding as people read it."""
    binding = row.binding
    return BindingView(
        id=str(binding.id),
        principal=row.subject,
        principal_id=str(row.subject_id),
        role=row.role,
        app=_text(binding.app, row.app),
        environment=_text(binding.environment, row.environment),
        node=_text(binding.node, row.node),
        name=str(binding.pattern),
        expires_at=binding.expires_at,
        created_at=row.created_at,
    )


def _selector(text: str, part_id: UUID | None) -> PartSelector:
    if text == ANY:
        return PartSelector(Match.ANY)
    return PartSelector(Match.UNSET) if text == UNSET else PartSelector(Match.IS, part_id)


def _text(selector: PartSelector, name: str | None) -> str:
    return {Match.ANY: ANY, Match.UNSET: UNSET}.get(selector.match, name or "")

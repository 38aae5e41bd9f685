"""The query parameters of the lists, one message each; an unknown parameter is refused by the route layer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

Limit = Annotated[int, Meta(ge=1, le=500, description="how many items at most")]
Text = Annotated[str, Meta(max_length=200)]
Cursor = Annotated[str, Meta(max_length=500, description="next_cursor of the part before")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with a time zone")]


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all."""


class PageQuery(Query, frozen=True):
    cursor: Cursor | None = None
    limit: Limit = 100


class BackendRefsQuery(Query, frozen=True):
    """``folder`` of the backend ('' is its top), for secrets of the scope."""

    folder: str = ""
    app: str | None = None
    environment: str | None = None
    node: str | None = None


class ForceQuery(Query, frozen=True):
    """``force``: although something that is deployed uses it."""

    force: bool = False


class CascadeQuery(Query, frozen=True):
    """``cascade``: together with what belongs to it."""

    cascade: bool = False


class SecretsQuery(PageQuery, frozen=True):
    """``q`` searches in names and descriptions; ``label`` is ``key`` or ``key=value``; ``scope`` says which parts are set."""

    app: Text | None = None
    environment: Text | None = None
    node: Text | None = None
    scope: Text | None = None
    name: Text | None = None
    label: Text | None = None
    q: Text | None = None


class PrincipalQuery(PageQuery, frozen=True):
    """``principal`` is a name."""

    principal: Text | None = None


class BindingsQuery(PageQuery, frozen=True):
    """``principal``, ``group`` and ``role`` are names; ``emergency`` says whether it is one for an emergency."""

    principal: Text | None = None
    group: Text | None = None
    role: Text | None = None
    emergency: bool | None = None


class AccessReviewQuery(Query, frozen=True):
    """``secret`` is an id, ``principal`` a name; ``name`` of the secret is exact or ends in ``*``; without ``permission`` every
    one on secrets."""

    permission: Text | None = None
    principal: Text | None = None
    secret: UUID | None = None
    app: Text | None = None
    environment: Text | None = None
    node: Text | None = None
    name: Text | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=5000, description="how many entries at most")] = 1000


class RoleDeleteQuery(Query, frozen=True):
    """``cascade``: the bindings that use the role go with it."""

    cascade: bool = False


class ApprovalsQuery(PageQuery, frozen=True):
    """``view`` is all, mine, inbox (what you can decide now) or decided (by you); ``state`` and ``action`` of requests."""

    view: Text = "all"
    state: Text | None = None
    action: Text | None = None


class DeploymentsQuery(PageQuery, frozen=True):
    app: Text | None = None
    environment: Text | None = None
    node: Text | None = None
    state: Text | None = None


class RolloutsQuery(PageQuery, frozen=True):
    """``state`` is running, succeeded or withdrawn; ``secret`` is an id."""

    state: Text | None = None
    secret: UUID | None = None


class UsageQuery(PageQuery, frozen=True):
    """``filter`` is unused or stale, and has to be given."""

    filter: Text = ""


class DriftQuery(Query, frozen=True):
    app: Text | None = None
    environment: Text | None = None
    node: Text | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=200, description="how many deployments at most")] = 100


class AuditQuery(PageQuery, frozen=True):
    """``actor`` and ``on_behalf_of`` are names or ids; ``action`` may end in ``*``; ``resource`` is a name; ``since`` is
    inclusive, ``until`` is not; ``text`` stands in the reason, in any case of letters."""

    actor: Text | None = None
    on_behalf_of: Text | None = None
    action: Text | None = None
    outcome: Text | None = None
    code: Text | None = None
    resource_kind: Text | None = None
    resource: Text | None = None
    resource_id: UUID | None = None
    app: Text | None = None
    environment: Text | None = None
    node: Text | None = None
    peer: Text | None = None
    request_id: Text | None = None
    token_id: UUID | None = None
    since: Moment | None = None
    until: Moment | None = None
    text: Text | None = None


class AuditExportQuery(AuditQuery, frozen=True):
    """``format``: jsonl or csv."""

    format: Text = "jsonl"
    limit: Annotated[int, Meta(ge=1, le=5000, description="how many rows at most")] = 5000


Size = Annotated[int, Meta(ge=0, le=(1 << 62) - 1, description="how many rows a checkpoint counts")]


class RowProofQuery(Query, frozen=True):
    """``row`` is the id of an audit row; ``size`` that of a checkpoint, by default the newest."""

    row: Text = ""
    size: Size | None = None


class GrowthQuery(Query, frozen=True):
    """Sizes of two checkpoints; ``new_size`` by default that of the newest."""

    old_size: Size = 0
    new_size: Size | None = None


class RecordsQuery(Query, frozen=True):
    """``first`` is the index of a row, from 0."""

    first: Size = 0
    limit: Annotated[int, Meta(ge=1, le=5000, description="how many rows at most")] = 1000

"""An explanation and the decision never disagree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from overseer.core.access import Allowed, Binding, Match, NamePattern, PartSelector, Resource, decide
from overseer.core.access_explanations import Lack, lacks
from overseer.core.permissions import Permission, to_bits
from overseer.core.scopes import Scope

NOW = datetime(2030, 1, 1, tzinfo=UTC)
IDS = (UUID(int=1), UUID(int=2))
parts = st.sampled_from([None, *IDS])
selectors = st.sampled_from([PartSelector(Match.ANY), PartSelector(Match.UNSET), *(PartSelector(Match.IS, one) for one in IDS)])
permissions = st.sampled_from([Permission.SECRET_LIST, Permission.SECRET_REVEAL, Permission.SECRET_USE])
bindings = st.builds(
    Binding,
    id=st.uuids(),
    permissions=st.frozensets(permissions).map(to_bits),
    app=selectors,
    environment=selectors,
    node=selectors,
    pattern=st.sampled_from(["*", "db-*", "db-main", "api"]).map(NamePattern.parse),
    expires_at=st.sampled_from([None, NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1)]),
)
resources = st.builds(
    Resource,
    kind=st.just("secret"),
    name=st.sampled_from(["db-main", "db-other", "api"]),
    scope=st.builds(Scope, app=parts, environment=parts, node=parts),
)


@given(st.lists(bindings, max_size=4), permissions, resources)
def test_allowed_is_where_a_binding_lacks_nothing(held: list[Binding], permission: Permission, resource: Resource) -> None:
    explained = {binding.id for binding in held if not lacks(binding, permission, resource, NOW)}
    decision = decide(held, permission, resource, NOW)
    assert isinstance(decision, Allowed) == bool(explained)
    if isinstance(decision, Allowed):
        assert decision.binding in explained


@given(bindings, permissions, resources)
def test_a_dormant_binding_lacks_what_an_expired_one_lacks(binding: Binding, permission: Permission, resource: Resource) -> None:
    expired = lacks(binding, permission, resource, NOW)
    dormant = lacks(binding, permission, resource, NOW, dormant=True)
    assert [Lack.EXPIRED if one is Lack.DORMANT else one for one in dormant] == list(expired)


def test_every_lack_is_named() -> None:
    binding = Binding(
        UUID(int=9), 0, PartSelector(Match.UNSET), PartSelector(Match.UNSET), PartSelector(Match.IS, IDS[0]),
        NamePattern.parse("db-*"), NOW,
    )  # fmt: skip
    resource = Resource("secret", "api", Scope(IDS[0], IDS[0], None))
    found = set(lacks(binding, Permission.SECRET_USE, resource, NOW)) | set(
        lacks(binding, Permission.SECRET_USE, resource, NOW, dormant=True)
    )
    assert found == set(Lack)

"""Signing in through an identity provider: a real one in another process, which behaves and misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput, NotReady, Unauthenticated
from overseer.core.secret_value import SecretValue
from overseer.server.services import issuer_keys
from overseer.server.services.oidc_service import OidcService
from overseer.server.services.session_making import SessionRules
from overseer.server.sign_in_settings import OidcProvider
from overseer.server.storage.principal_rows import disable_principal
from overseer.wire.access import BindingCreate
from overseer.wire.people import ExternalIdentity, SessionCreated, UserCreate
from overseer.wire.sign_in import OidcBegin, OidcBegun, OidcFinish
from tests.doubles.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.doubles.provider_process import ProviderProcess, oidc_provider
from tests.integration.people.conftest import People
from tests.integration.services.world import together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CALLBACK = "http://127.0.0.1:40000/callback"


@pytest.fixture(scope="module")
def process() -> Iterator[ProviderProcess]:
    with oidc_provider() as running:
        yield running


@pytest.fixture
def provider(process: ProviderProcess) -> ProviderProcess:
    """The provider, behaving, with a user ``ann``."""
    process.control(mode="", rotate=0)
    process.user("ann", preferred_username="ann", groups=[])
    return process


def settings(provider: ProviderProcess, **changes: Any) -> OidcProvider:
    made = OidcProvider(
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        client_secret=SecretValue(CLIENT_SECRET),
        redirect_uri="https://vault.example/sign-in/oidc/callback",
        provision="everyone",
        allow_private=True,
    )
    return replace(made, **changes)


def service(people: People, provider: ProviderProcess, **changes: Any) -> OidcService:
    return OidcService(people.world.gate, people.world.keys, {"corp": settings(provider, **changes)}, SessionRules())


async def begun(oidc: OidcService) -> OidcBegun:
    return await oidc.begin(OidcBegin(provider="corp", redirect_uri=CALLBACK))


async def ended(
    people: People, provider: ProviderProcess, oidc: OidcService, user: str = "ann", **changes: Any
) -> SessionCreated:
    """A whole sign-in."""
    start = await begun(oidc)
    back = provider.log_in(start.url, user)
    body = OidcFinish(ticket=start.ticket, code=back["code"], state=back["state"], issuer=back["iss"])
    return await oidc.finish(people.stranger(), replaced(body, **changes))


def replaced(body: OidcFinish, **changes: Any) -> OidcFinish:
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    return OidcFinish(**(fields | changes))


async def last_code(people: People) -> str:
    """What the audit log says of the last refused sign-in."""
    rows = [row for row in await people.world.audit() if row["action"] == "session:create" and row["outcome"] == "denied"]
    return str(rows[-1]["code"])


async def test_a_first_sign_in_makes_the_user_and_the_next_finds_it(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider)
    first = await ended(people, provider, oidc)
    second = await ended(people, provider, oidc)
    me = await people.services.identity.me(people.holder(second.session))
    assert (first.user, second.user, me.name) == ("ann", "ann", "ann")
    view = await people.services.users.get_user(people.world.owner, UUID(me.id))
    assert [(one.issuer, one.subject) for one in view.identities] == [(provider.issuer, "subject-of-ann")]
    assert not view.has_password
    rows = [(row["action"], row["code"], row["actor_name"]) for row in await people.world.audit() if row["actor_name"] == "ann"]
    assert rows[:2] == [("user:create", "provisioned", "ann"), ("session:create", "", "ann")]


async def test_the_request_to_the_provider_is_what_the_standards_want(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider, scopes=("profile", "email"))
    one, other = await begun(oidc), await begun(oidc)
    query = {name: values[0] for name, values in parse_qs(urlsplit(one.url).query).items()}
    assert query["scope"] == "openid profile email"
    assert (query["response_type"], query["code_challenge_method"], query["redirect_uri"]) == ("code", "S256", CALLBACK)
    for secret in ("state", "nonce", "code_challenge"):
        assert len(query[secret]) == 43
        assert query[secret] != parse_qs(urlsplit(other.url).query)[secret][0]
        assert query[secret] not in one.ticket
    assert one.ticket not in one.url
    web = await oidc.begin(OidcBegin(provider="corp"))
    assert parse_qs(urlsplit(web.url).query)["redirect_uri"] == ["https://vault.example/sign-in/oidc/callback"]


MISBEHAVIOUR = {
    "wrong_issuer": "wrong_issuer",
    "wrong_audience": "wrong_audience",
    "several_audiences": "wrong_audience",
    "expired": "expired",
    "not_yet_valid": "not_yet_valid",
    "wrong_nonce": "wrong_nonce",
    "no_nonce": "wrong_nonce",
    "no_subject": "bad_subject",
    "algorithm_none": "malformed",
    "hmac_with_public_key": "bad_algorithm",
    "unsigned": "malformed",
    "signed_by_another_key": "bad_signature",
    "key_in_the_header": "unknown_key",
    "critical_header": "malformed",
    "no_identity_token": "code_refused",
}


async def test_a_token_that_proves_nothing_lets_nobody_in(people: People, provider: ProviderProcess) -> None:
    for mode, code in MISBEHAVIOUR.items():
        oidc = service(people, provider)
        provider.control(mode=mode)
        with pytest.raises(Unauthenticated):
            await ended(people, provider, oidc)
        assert await last_code(people) == code, mode
    assert await people.world.sql("SELECT FROM token WHERE kind = 'session'") == []
    assert [view.name for view in (await people.services.users.list_users(people.world.owner)).items] == ["owner"]


@pytest.mark.parametrize(
    "mode", ["down", "discovery_of_another_issuer", "token_endpoint_fails", "token_endpoint_redirects", "token_endpoint_is_huge"]
)
async def test_a_provider_that_does_not_work_is_a_clear_error(people: People, provider: ProviderProcess, mode: str) -> None:
    oidc = service(people, provider)
    provider.control(mode=mode)
    with pytest.raises(NotReady, match="the identity provider corp") as caught:
        await ended(people, provider, oidc)
    assert provider.issuer not in caught.value.message


async def test_a_provider_that_hangs_is_given_up(
    people: People, provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = service(people, provider)
    start = await begun(oidc)
    back = provider.log_in(start.url, "ann")
    provider.control(mode="token_endpoint_hangs")
    oidc._issuers["corp"].outgoing._seconds = 0.3
    with pytest.raises(NotReady):
        await oidc.finish(people.stranger(), OidcFinish(ticket=start.ticket, code=back["code"], state=back["state"]))


async def test_a_private_address_is_asked_only_where_the_configuration_allows_it(
    people: People, provider: ProviderProcess
) -> None:
    with pytest.raises(NotReady, match="address is not allowed"):
        await begun(service(people, provider, allow_private=False))


async def test_keys_rotate_and_an_invented_key_makes_no_storm(
    people: People, provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = service(people, provider)
    await ended(people, provider, oidc)
    provider.control(rotate=0)  # the old key is gone, the new one unknown here
    before = provider.control()["requests"]["/jwks"]
    await ended(people, provider, oidc)
    assert provider.control()["requests"]["/jwks"] == before + 1
    provider.control(mode="key_in_the_header")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await ended(people, provider, oidc)
    assert provider.control()["requests"]["/jwks"] == before + 1
    assert issuer_keys.UNKNOWN_SECONDS >= 30


async def test_keys_that_were_fetched_go_on_to_count_while_the_provider_is_down(
    people: People, provider: ProviderProcess
) -> None:
    now = [1000.0]
    keys = issuer_keys.IssuerKeys(
        "it", issuer_keys.Rules(provider.issuer, "a", ("RS256",)), allow_private=True, clock=lambda: now[0]
    )
    seconds = datetime.now(UTC).timestamp()
    token = SecretValue(
        provider.sign({"iss": provider.issuer, "aud": "a", "sub": "s", "iat": int(seconds), "exp": int(seconds) + 600})
    )
    assert isinstance(await keys.claims(token, seconds), dict)
    provider.control(mode="down")
    now[0] += issuer_keys.FRESH_SECONDS + 1
    assert isinstance(await keys.claims(token, seconds), dict)
    now[0] += issuer_keys.STALE_SECONDS
    with pytest.raises(NotReady):
        await keys.claims(token, seconds)
    provider.control(mode="")
    with pytest.raises(NotReady, match="a moment ago"):  # who waited behind the failure does not wait again
        await keys.claims(token, seconds)
    now[0] += issuer_keys.FAILED_SECONDS
    assert isinstance(await keys.claims(token, seconds), dict)


async def test_a_ticket_works_once_and_belongs_to_whoever_began(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider)
    mine, theirs = await begun(oidc), await begun(oidc)
    back = provider.log_in(mine.url, "ann")
    good = OidcFinish(ticket=mine.ticket, code=back["code"], state=back["state"])
    bad = {
        "bad_state": replaced(good, ticket=theirs.ticket),  # somebody else's sign-in, ended in my browser
        "bad_ticket": replaced(good, ticket=mine.ticket[:-2] + ("AA" if mine.ticket[-2:] != "AA" else "BB")),
        "wrong_issuer": replaced(good, issuer="https://another.example"),
    }
    for code, body in bad.items():
        with pytest.raises(Unauthenticated):
            await oidc.finish(people.stranger(), body)
        assert await last_code(people) == code
    with pytest.raises(Unauthenticated):
        await oidc.finish(people.stranger(), replaced(good, state="x" * 43))
    await oidc.finish(people.stranger(), good)
    with pytest.raises(Unauthenticated):
        await oidc.finish(people.stranger(), good)
    assert await last_code(people) == "code_refused"  # the provider's own rule comes first


async def test_a_spent_ticket_is_refused_even_with_a_fresh_code(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider)
    start = await begun(oidc)
    bodies = []
    for _ in range(3):
        back = provider.log_in(start.url, "ann")
        bodies.append(OidcFinish(ticket=start.ticket, code=back["code"], state=back["state"]))
    done = await together(*(oidc.finish(people.stranger(), body) for body in bodies))
    assert len([one for one in done if isinstance(one, SessionCreated)]) == 1
    assert await last_code(people) == "replayed"


async def test_a_ticket_ends(people: People, provider: ProviderProcess) -> None:
    late = OidcService(
        people.world.gate,
        people.world.keys,
        {"corp": settings(provider)},
        SessionRules(),
        clock=lambda: datetime.now(UTC) + timedelta(seconds=601),
    )
    start = await begun(service(people, provider))
    back = provider.log_in(start.url, "ann")
    with pytest.raises(Unauthenticated):
        await late.finish(people.stranger(), OidcFinish(ticket=start.ticket, code=back["code"], state=back["state"]))
    assert await last_code(people) == "bad_ticket"


async def test_another_code_verifier_is_refused_by_the_provider(people: People, provider: ProviderProcess) -> None:
    """A code that was caught on its way is worth nothing with another ticket: state and verifier are that ticket's."""
    oidc = service(people, provider)
    victim, thief = await begun(oidc), await begun(oidc)
    back = provider.log_in(victim.url, "ann")
    state = parse_qs(urlsplit(thief.url).query)["state"][0]
    with pytest.raises(Unauthenticated):
        await oidc.finish(people.stranger(), OidcFinish(ticket=thief.ticket, code=back["code"], state=state))
    assert await last_code(people) == "code_refused"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "http://127.0.0.1:40000/other",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:40000/callback?x=1",
        "http://localhost:40000/callback",
        "http://127.0.0.1:40000@evil.example/callback",
        "http://10.0.0.1:40000/callback",
        "http://127.0.0.1:99999/callback",
        "",
    ],
)
async def test_nobody_is_sent_back_to_another_address(people: People, provider: ProviderProcess, uri: str) -> None:
    with pytest.raises(InvalidInput):
        await service(people, provider).begin(OidcBegin(provider="corp", redirect_uri=uri))


async def test_providers_that_are_not_there_or_not_for_browsers(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider, redirect_uri=None)
    with pytest.raises(InvalidInput):
        await oidc.begin(OidcBegin(provider="other"))
    with pytest.raises(InvalidInput):
        await oidc.begin(OidcBegin(provider="corp"))
    assert [(one.name, one.web) for one in oidc.providers()] == [("corp", False)]


async def test_nobody_is_found_by_name_or_e_mail(people: People, provider: ProviderProcess) -> None:
    """A provider's user who calls itself like a local owner becomes another user."""
    provider.user("mallory", sub="mallory-1", preferred_username="Owner", email="owner@example.org")
    made = await ended(people, provider, service(people, provider), "mallory")
    assert made.user == "Owner-2"
    me = await people.services.identity.me(people.holder(made.session))
    assert me.bindings == []


@pytest.mark.parametrize(
    ("claim", "name"),
    [("a.b@example.org", "a.b-example.org"), ("../x", "x"), ("ünï", "n-"), ("me", "me-2"), ("", None), (5, None), ("é", None)],
)
async def test_names_are_made_fit(people: People, provider: ProviderProcess, claim: Any, name: str | None) -> None:
    provider.user("odd", preferred_username=claim)
    made = await ended(people, provider, service(people, provider), "odd")
    assert made.user == name or (name is None and made.user.startswith("user-"))


async def test_without_provisioning_an_administrator_ties_the_subject_before(people: People, provider: ProviderProcess) -> None:
    oidc = service(people, provider, provision="linked")
    with pytest.raises(Denied):
        await ended(people, provider, oidc)
    [row] = [row for row in await people.world.audit() if row["code"] == "not_linked"]
    [text] = await people.world.sql("SELECT reason FROM audit_text WHERE id = $1", row["text_id"])
    assert (row["resource_name"], text["reason"]) == ("corp", "subject subject-of-ann")
    users, owner = people.services.users, people.world.owner
    ann = UUID((await users.create_user(owner, UserCreate(name="Ann-Lee"))).id)
    await users.link_identity(owner, ann, ExternalIdentity(issuer=provider.issuer, subject="subject-of-ann"))
    assert (await ended(people, provider, oidc)).user == "Ann-Lee"
    await users.disable_user(owner, ann)
    with pytest.raises(Denied):
        await ended(people, provider, oidc)
    assert await last_code(people) == "principal_disabled"


async def test_groups_follow_the_claim_at_each_sign_in(people: People, provider: ProviderProcess) -> None:
    for number, group in enumerate(("owners", "staff", "own")):
        await people.world.sql("INSERT INTO principal_group (id, name) VALUES ($1, $2)", UUID(int=number + 1), group)
    oidc = service(people, provider, provision="mapped", groups={"admins": "owners", "all": "staff", "gone": "no-such-group"})
    with pytest.raises(Denied):
        await ended(people, provider, oidc)  # in no group that is mapped
    provider.user("ann", preferred_username="ann", groups=["admins", "all", "unmapped", 5])
    await ended(people, provider, oidc)
    assert await groups_of(people) == ["owners", "staff"]
    await people.world.sql(
        "INSERT INTO group_member (principal_id, group_id) SELECT id, $1 FROM principal WHERE name = 'ann'", UUID(int=3)
    )
    provider.user("ann", preferred_username="ann", groups=["all", "gone"])
    session = people.holder((await ended(people, provider, oidc)).session)
    assert await groups_of(people) == ["own", "staff"]
    rows = [(row["action"], row["resource_name"]) for row in await people.world.audit() if row["resource_kind"] == "group"]
    assert rows == [("group:add_member", "owners"), ("group:add_member", "staff"), ("group:remove_member", "owners")]
    await people.services.identity.me(session)
    provider.user("ann", preferred_username="ann")  # the claim is gone
    await ended(people, provider, oidc)
    assert await groups_of(people) == ["own"]


async def test_claims_do_not_take_the_last_owner_away(people: People, provider: ProviderProcess) -> None:
    """A provider that forgets a group for a moment must not leave a server that nobody owns."""
    world = people.world
    await world.sql("INSERT INTO principal_group (id, name) VALUES ($1, 'owners')", UUID(int=1))
    await people.services.identity.create_binding(
        world.owner, BindingCreate(group="owners", role="owner", app="*", environment="*", node="*", name="*")
    )
    oidc = service(people, provider, groups={"admins": "owners"})
    provider.user("ann", preferred_username="ann", groups=["admins"])
    session = people.holder((await ended(people, provider, oidc)).session)
    await world.sql("DELETE FROM binding WHERE subject_kind = 'principal'")
    provider.user("ann", preferred_username="ann", groups=[])
    with pytest.raises(Conflict, match="last owner"):
        await ended(people, provider, oidc)
    assert await groups_of(people) == ["owners"]
    await people.services.identity.me(session)
    await people.services.identity.create_binding(
        session, BindingCreate(principal="ann", role="owner", app="*", environment="*", node="*", name="*")
    )
    await ended(people, provider, oidc)
    assert await groups_of(people) == []


async def test_a_session_that_begins_while_its_user_is_disabled_ends_with_it(people: People, provider: ProviderProcess) -> None:
    """The two wait for each other: else the session would be there, asleep, until the user is enabled again."""
    oidc = service(people, provider)
    user = UUID((await people.services.identity.me(people.holder((await ended(people, provider, oidc)).session))).id)
    start = await begun(oidc)
    back = provider.log_in(start.url, "ann")
    body = OidcFinish(ticket=start.ticket, code=back["code"], state=back["state"], issuer=back["iss"])
    async with people.world.gate.own_work() as (session, _):
        await disable_principal(session, user)
        sign_in = asyncio.create_task(oidc.finish(people.stranger(), body))
        await asyncio.wait({sign_in}, timeout=0.5)
    with pytest.raises(Denied):
        await sign_in


async def test_groups_may_lie_inside_a_claim(people: People, provider: ProviderProcess) -> None:
    await people.world.sql("INSERT INTO principal_group (id, name) VALUES ($1, 'staff')", UUID(int=1))
    provider.user("ann", preferred_username="ann", realm_access={"roles": ["all"]})
    oidc = service(people, provider, provision="mapped", groups={"all": "staff"}, groups_claim="realm_access.roles")
    await ended(people, provider, oidc)
    assert await groups_of(people) == ["staff"]


async def groups_of(people: People) -> list[str]:
    rows = await people.world.sql(
        "SELECT g.name FROM group_member m JOIN principal_group g ON g.id = m.group_id JOIN principal p ON p.id = m.principal_id "
        "WHERE p.name = 'ann' ORDER BY g.name"
    )
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("demanded", "said", "let_in"),
    [
        ({"amr": ("mfa", "otp")}, {"amr": ["pwd", "otp"]}, True),
        ({"amr": ("mfa", "otp")}, {"amr": ["pwd"]}, False),
        ({"amr": ("mfa",)}, {"amr": "mfa"}, False),  # RFC 8176: a list
        ({"amr": ("mfa",)}, {}, False),
        ({"acr": ("urn:strong",)}, {"acr": "urn:strong"}, True),
        ({"acr": ("urn:strong",)}, {"acr": "urn:weak", "amr": ["mfa"]}, False),
        ({"acr": ("urn:strong",), "amr": ("mfa",)}, {"acr": "urn:strong"}, False),
        ({"acr": ("urn:strong",)}, {"acr": ["urn:strong"]}, False),
    ],
)
async def test_what_is_demanded_of_a_sign_in_is_looked_at(
    people: People, provider: ProviderProcess, demanded: dict[str, Any], said: dict[str, Any], let_in: bool
) -> None:
    provider.user("ann", preferred_username="ann", **said)
    oidc = service(people, provider, **demanded)
    asked = parse_qs(urlsplit((await begun(oidc)).url).query)
    assert asked.get("acr_values") == ([" ".join(demanded["acr"])] if "acr" in demanded else None)
    if let_in:
        assert not (await ended(people, provider, oidc)).enrolling
    else:
        with pytest.raises(Unauthenticated):
            await ended(people, provider, oidc)
        assert await last_code(people) == "weak_sign_in"

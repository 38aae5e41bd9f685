"""Approvals: who decides about what, what exactly an approval is good for, and that it is good once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import (
    AlreadyExists,
    ApprovalRequired,
    Conflict,
    Denied,
    InvalidInput,
    PreconditionFailed,
    RateLimited,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.server.services import approval_requests
from overseer.server.services.approval_guard import guard_reveal, refusal_of, reveal_of, secret_place
from overseer.server.storage import secret_rows
from overseer.wire.approvals import ApprovalPolicyCreate, ApprovalPolicyPatch
from overseer.wire.secret_batches import ScopeTarget, SecretMove
from overseer.wire.secrets import SecretActivate, SecretUpdate, ValueRequest
from tests.integration.services.approving import ANYWHERE, DECIDES, Office
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def office(world: World) -> Office:
    return await Office.open(world)


async def reveal(office: Office, caller: Any, secret: UUID, version: int | None = None) -> str:
    revealed = await office.world.secrets.reveal(office.again(caller), secret, ValueRequest(version=version))
    return text(revealed.value)


async def test_a_guarded_value_waits_for_one_who_agrees_and_is_shown_once(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush", app="shop")).id)
    dev = await office.person("developer")
    assert await reveal(office, dev, secret) == "hush"
    await office.policy("reveal", app="shop")
    refused = office.again(dev)
    with pytest.raises(ApprovalRequired) as error:
        await world.secrets.reveal(refused, secret, ValueRequest())
    assert error.value.problems[0].code == "approval_required"
    assert [(r["action"], r["outcome"], r["code"]) for r in await world.audit(refused)] == [
        ("secret:reveal", "denied", "approval_required")
    ]
    asked = await office.ask(dev, "reveal", secret_id=secret)
    assert (asked.state, asked.version, asked.approvers, asked.own) == ("pending", 1, 1, True)
    with pytest.raises(ApprovalRequired) as error:
        await reveal(office, dev, secret)
    assert [(p.place, p.code) for p in error.value.problems][1:] == [(f"approval:{asked.id}", "pending")]
    approved = await office.decide(office.boss, asked)
    assert (approved.state, approved.approvals) == ("approved", 1)
    used = office.again(dev)
    assert text((await world.secrets.reveal(used, secret, ValueRequest())).value) == "hush"
    rows = [(r["action"], r["outcome"], r["resource_id"]) for r in await world.audit(used)]
    assert rows == [("secret:reveal", "allowed", secret), ("approval:use", "allowed", UUID(asked.id))]
    assert await office.state(asked) == "used"
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)


async def test_it_is_for_one_person_one_version_and_the_secret_as_it_was(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "one")).id)
    await world.secrets.update(world.owner, secret, SecretUpdate(value="two"))
    await office.policy("reveal")
    dev, other = await office.person("developer"), await office.person("developer")
    asked = await office.approved(dev, "reveal", secret_id=secret)
    for who, version in ((other, None), (dev, 1)):
        with pytest.raises(ApprovalRequired):
            await reveal(office, who, secret, version)
    old = await office.approved(dev, "reveal", secret_id=secret, version=1)
    await world.secrets.update(world.owner, secret, SecretUpdate(value="three"))
    for version in (None, 1, 2, 3):
        with pytest.raises(ApprovalRequired) as error:
            await reveal(office, dev, secret, version)
    assert {p.code for p in error.value.problems} == {"approval_required", "stale"}
    assert [await office.state(one) for one in (asked, old)] == ["approved", "approved"]
    assert (await office.service.get_approval(dev, UUID(asked.id))).stale
    fresh = await office.approved(dev, "reveal", secret_id=secret)
    assert not fresh.stale
    assert await reveal(office, dev, secret) == "three"


async def test_what_is_stale_cannot_be_approved_any_more(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    dev = await office.person("developer")
    asked = await office.ask(dev, "reveal", secret_id=secret)
    await world.secrets.update(world.owner, secret, SecretUpdate(value="two"))
    with pytest.raises(Conflict, match="changed since"):
        await office.decide(office.boss, asked)
    await office.decide(office.boss, asked, "refuse")
    assert await office.state(asked) == "refused"


async def test_nobody_decides_about_their_own(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    asked = await office.ask(world.owner, "reveal", secret_id=secret)
    with pytest.raises(Denied, match="another person"):
        await office.decide(world.owner, asked)
    # Not with another token of theirs,
    me = (await world.sql("SELECT principal_id FROM token WHERE hash = $1", world.owner.token_hash))[0]["principal_id"]
    add = "INSERT INTO token (hash, id, principal_id, expires_at) VALUES ($1, $2, $3, now() + interval '1 hour')"
    await world.sql(add, bytes(32), uuid4(), me)
    with pytest.raises(Denied, match="another person"):
        await office.decide(world.caller(bytes(32)), asked)
    # nor through a service account: those decide about nothing, whoever made them.
    robot = await world.service_account("owner")
    with pytest.raises(Denied, match="only people"):
        await office.decide(robot, asked)
    assert await office.state(asked) == "pending"


async def test_who_stands_behind_a_service_account_does_not_decide_for_it(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    maker, other = await office.person("owner"), await office.person("owner")
    robot, helper = await world.service_account("developer"), await world.service_account()
    ids = {c: (await world.sql("SELECT principal_id FROM token WHERE hash = $1", c.token_hash))[0]["principal_id"]
           for c in (maker, robot, helper)}  # fmt: skip
    # The maker made a token of the helper, which made one of the robot, which made its own successor.
    made = "UPDATE token SET created_by = $2 WHERE principal_id = $1"
    await world.sql(made, ids[helper], ids[maker])
    await world.sql(made, ids[robot], ids[helper])
    asked = await office.ask(robot, "reveal", secret_id=secret)
    with pytest.raises(Denied, match="another person"):
        await office.decide(maker, asked)
    assert not (await office.service.get_approval(maker, UUID(asked.id))).may_decide
    assert (await office.service.get_approval(other, UUID(asked.id))).may_decide
    await office.decide(other, asked)
    assert await reveal(office, robot, secret) == "v1"


async def test_who_comes_to_stand_behind_a_service_account_afterwards_approved_nothing(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    robot, approver = await world.service_account("developer"), await office.person("owner")
    await office.decide(approver, await office.ask(robot, "reveal", secret_id=secret))
    mine = "SELECT principal_id FROM token WHERE hash = $1"
    made = f"UPDATE token SET created_by = ({mine}) WHERE hash = $2"
    await world.sql(made, approver.token_hash, robot.token_hash)
    with pytest.raises(ApprovalRequired):
        await reveal(office, robot, secret)
    await world.sql("UPDATE token SET created_by = NULL WHERE hash = $1", robot.token_hash)
    assert await reveal(office, robot, secret) == "v1"


async def test_several_approvals_are_those_of_several_people_who_can_still_give_them(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal", approvers=2)
    dev, second, third = await office.person("developer"), await office.person(DECIDES), await office.person(DECIDES)
    asked = await office.ask(dev, "reveal", secret_id=secret)
    assert (await office.decide(office.boss, asked)).state == "pending"
    with pytest.raises(AlreadyExists):
        await office.decide(office.boss, asked)
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)
    assert (await office.decide(second, asked)).state == "approved"
    # Whoever is disabled, or lost the right, does not count any more.
    away = "UPDATE principal SET disabled_at = now() WHERE id = (SELECT principal_id FROM token WHERE hash = $1)"
    await world.sql(away, second.token_hash)
    with pytest.raises(ApprovalRequired) as error:
        await reveal(office, dev, secret)
    assert error.value.problems[-1].code == "too_few"
    again = await office.ask(dev, "reveal", secret_id=secret)
    await office.decide(office.boss, again)
    await office.decide(third, again)
    await world.sql("DELETE FROM binding WHERE subject_id = (SELECT principal_id FROM token WHERE hash = $1)", third.token_hash)
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)
    await world.bind(third, DECIDES)
    assert await reveal(office, dev, secret) == "v1"


async def test_a_policy_that_asks_for_more_holds_for_what_was_approved_before(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    policy = await office.policy("reveal")
    dev = await office.person("developer")
    await office.approved(dev, "reveal", secret_id=secret)
    await office.service.patch_policy(world.owner, policy, ApprovalPolicyPatch(approvers=2))
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)
    await office.service.patch_policy(world.owner, policy, ApprovalPolicyPatch(approvers=1))
    assert await reveal(office, dev, secret) == "v1"


async def test_of_twenty_uses_at_once_one_is_let_through(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush")).id)
    await office.policy("reveal")
    dev = await office.person("developer")
    asked = await office.approved(dev, "reveal", secret_id=secret)
    world.gate._limits._burst = 10**6
    found = await together(*(reveal(office, dev, secret) for _ in range(20)))
    assert found.count("hush") == 1
    assert sum(isinstance(one, ApprovalRequired) for one in found) == 19
    uses = await world.sql("SELECT FROM audit WHERE action = 'approval:use' AND resource_id = $1", UUID(asked.id))
    assert len(uses) == 1


async def test_one_that_is_being_used_is_waited_for_and_then_gone(world: World, office: Office) -> None:
    """Also within one request: what uses it once may not use it again."""
    secret = UUID((await world.secret("db", "hush")).id)
    await office.policy("reveal")
    dev = await office.person("developer")
    await office.approved(dev, "reveal", secret_id=secret)
    async with world.gate.enter(office.again(dev), AuditAction.SECRET_REVEAL) as entry:
        row = await secret_rows.secret_by_id(entry.session, secret)
        assert row is not None
        entry.authorise(Permission.SECRET_REVEAL, row.resource())
        await guard_reveal(entry, row, 1)
        again = reveal_of(entry, row, 1), [secret_place(Operation.REVEAL, row)], [Permission.SECRET_REVEAL]
        assert isinstance(await refusal_of(entry, *again), ApprovalRequired)
        late = asyncio.create_task(reveal(office, dev, secret))
        await world.somebody_waits()
    with pytest.raises(ApprovalRequired):
        await late


async def test_what_a_machine_decided_does_not_count_however_it_came_into_the_database(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush")).id)
    await office.policy("reveal")
    dev, machine = await office.person("developer"), await world.service_account("owner")
    asked = UUID((await office.ask(dev, "reveal", secret_id=secret)).id)
    await world.sql(
        "INSERT INTO approval_decision (approval_id, principal_id, verdict, comment) "
        "SELECT $1, principal_id, 'approve', '' FROM token WHERE hash = $2",
        asked,
        machine.token_hash,
    )
    await world.sql("UPDATE approval SET state = 'approved', usable_until = now() + interval '1 hour' WHERE id = $1", asked)
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)


async def test_an_action_that_fails_gives_its_approval_back(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await world.secrets.update(world.owner, secret, SecretUpdate(value="two", activate=False))
    await office.policy("activate")
    dev = await office.person("developer")
    asked = await office.approved(dev, "activate", secret_id=secret, version=2)
    with pytest.raises(PreconditionFailed):
        await world.secrets.activate(office.again(dev), secret, SecretActivate(version=2), '"v9"')
    await world.sql("REVOKE INSERT ON audit FROM overseer_service")
    try:
        with pytest.raises(Exception, match="audit"):
            await world.secrets.activate(office.again(dev), secret, SecretActivate(version=2))
    finally:
        columns = "request_id, actor_id, actor_name, actor_kind, on_behalf_of, token_id, action, outcome, code, resource_kind, "
        columns += "resource_id, resource_name, app, environment, node, version, peer, client, repeats, text_id, text_commitment"
        await world.sql(f"GRANT INSERT ({columns}) ON audit TO overseer_service")
    assert await office.state(asked) == "approved"
    assert (await world.secrets.get(dev, secret)).view.active_version == 1
    changed = await world.secrets.activate(office.again(dev), secret, SecretActivate(version=2))
    assert changed.view.active_version == 2
    assert await office.state(asked) == "used"


async def test_what_is_refused_withdrawn_or_late_comes_to_nothing(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    dev = await office.person("developer")
    refused = await office.decide(office.boss, await office.ask(dev, "reveal", secret_id=secret), "refuse")
    assert (refused.state, refused.decisions[0].comment) == ("refused", "seen")
    withdrawn = await office.approved(dev, "reveal", secret_id=secret)
    assert (await office.service.withdraw_approval(dev, UUID(withdrawn.id))).state == "withdrawn"
    late = await office.approved(dev, "reveal", secret_id=secret)
    await world.sql("UPDATE approval SET usable_until = now() WHERE id = $1", UUID(late.id))
    waited = await office.ask(dev, "reveal", secret_id=secret)
    await world.sql("UPDATE approval SET waits_until = now() WHERE id = $1", UUID(waited.id))
    assert [await office.state(one) for one in (late, waited)] == ["expired", "expired"]
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)
    for one in (refused, withdrawn, late, waited):
        with pytest.raises(Conflict):
            await office.decide(office.boss, one)
        with pytest.raises(Conflict):
            await office.service.withdraw_approval(dev, UUID(one.id))


async def test_asking_needs_the_right_to_act_and_a_policy(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", app="shop")).id)
    dev = await office.person("developer", app="shop")
    with pytest.raises(Conflict, match="no policy"):
        await office.ask(dev, "reveal", secret_id=secret)
    await office.policy("reveal", "delete", "activate", "deploy")
    viewer, stranger = await office.person("viewer"), await office.person("developer", app="blog")
    with pytest.raises(Denied):
        await office.ask(viewer, "reveal", secret_id=secret)
    for who, what in ((stranger, secret), (dev, uuid4())):
        with pytest.raises(Unavailable):
            await office.ask(who, "reveal", secret_id=what)
    await office.ask(dev, "reveal", secret_id=secret)
    with pytest.raises(AlreadyExists) as error:
        await office.ask(dev, "reveal", secret_id=secret)
    assert error.value.problems[0].place.startswith("approval:")
    with_a_plan = {"action": "delete", "secret_id": secret, "plan": "x"}
    for wrong in ({"action": "reveal"}, {"action": "steal", "secret_id": secret}, with_a_plan):
        with pytest.raises(InvalidInput):
            await office.ask(dev, **wrong)
    with pytest.raises(Unavailable):
        await office.ask(dev, "reveal", secret_id=secret, version=9)


async def test_how_many_may_wait_of_one_is_bounded(world: World, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_requests, "MOST_WAITING", 2)
    secrets = [UUID((await world.secret(f"s{number}")).id) for number in range(3)]
    await office.policy("reveal")
    dev, other = await office.person("developer"), await office.person("developer")
    asked = [await office.ask(dev, "reveal", secret_id=secret) for secret in secrets[:2]]
    with pytest.raises(RateLimited):
        await office.ask(dev, "reveal", secret_id=secrets[2])
    await office.ask(other, "reveal", secret_id=secrets[2])
    await office.service.withdraw_approval(dev, UUID(asked[0].id))
    await office.ask(dev, "reveal", secret_id=secrets[2])


async def test_who_sees_which_requests(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", app="shop")).id)
    await office.policy("reveal")
    dev, other = await office.person("developer"), await office.person("developer")
    reader = await office.person(frozenset({Permission.APPROVAL_LIST}), app="shop")
    blogger = await office.person(DECIDES, app="blog")
    asked = await office.ask(dev, "reveal", secret_id=secret)

    async def ids(who: Any, **filters: Any) -> list[str]:
        return [one.id for one in (await office.service.list_approvals(office.again(who), **filters)).items]

    assert [await ids(who) for who in (dev, reader, office.boss, other, blogger)] == [[asked.id]] * 3 + [[], []]
    assert [await ids(who, view="inbox") for who in (dev, reader, office.boss)] == [[], [], [asked.id]]
    assert await ids(dev, view="mine") == [asked.id]
    assert await ids(office.boss, view="mine") == []
    for who in (other, blogger):
        for call in (office.service.get_approval, office.service.withdraw_approval):
            with pytest.raises(Unavailable):
                await call(office.again(who), UUID(asked.id))
        with pytest.raises(Unavailable):
            await office.decide(who, asked)
    with pytest.raises(Denied):
        await office.decide(reader, asked)
    with pytest.raises(Denied, match="only who asked"):
        await office.service.withdraw_approval(reader, UUID(asked.id))
    await office.decide(office.boss, asked)
    assert await ids(office.boss, view="decided") == [asked.id]
    assert await ids(office.boss, view="inbox") == []
    assert await ids(dev, state="approved", action="reveal") == [asked.id]
    assert await ids(dev, state="pending") == []
    with pytest.raises(InvalidInput):
        await ids(dev, view="everything")


async def test_lists_go_on_page_by_page(world: World, office: Office) -> None:
    await office.policy("reveal")
    dev = await office.person("developer")
    made = [(await office.ask(dev, "reveal", secret_id=UUID((await world.secret(f"s{n}")).id))).id for n in range(5)]
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = await office.service.list_approvals(office.again(dev), cursor=cursor, limit=2)
        seen += [one.id for one in page.items]
        cursor = page.next_cursor
    assert (seen, cursor) == (made[::-1], None)


async def test_an_emergency_takes_the_place_of_an_approval_and_leaves_its_trace(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush", app="shop")).id)
    elsewhere = UUID((await world.secret("db", "hush", app="blog")).id)
    await office.policy("reveal", approvers=5)
    dev = await office.person("developer")
    await world.bind(dev, "developer", app="shop", emergency="dormant")
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, secret)
    await world.bind(dev, "developer", app="shop", emergency="active")
    used = office.again(dev)
    assert text((await world.secrets.reveal(used, secret, ValueRequest())).value) == "hush"
    assert [(r["action"], r["code"]) for r in await world.audit(used)] == [("secret:reveal", ""), ("approval:use", "break_glass")]
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, elsewhere)


async def test_an_emergency_at_one_end_of_a_move_does_not_stand_for_the_other(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush", app="shop")).id)
    await office.policy("reveal", "activate", "delete")
    dev = await office.person("owner")
    target = SecretMove(scope=ScopeTarget(app="blog", environment=None, node=None))
    await world.bind(dev, "owner", app="shop", emergency="active")
    with pytest.raises(ApprovalRequired):
        await world.secrets.move(office.again(dev), secret, target)
    await world.bind(dev, "owner", emergency="active")
    await world.secrets.move(office.again(dev), secret, target)


async def test_a_move_is_decided_by_who_may_at_both_ends(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush", app="shop")).id)
    await office.policy("reveal", "activate", "delete")
    dev, near = await office.person("owner"), await office.person(DECIDES, app="shop")
    target = SecretMove(scope=ScopeTarget(app="blog", environment=None, node=None))
    asked = await office.ask(dev, "move", secret_id=secret, app="blog")
    with pytest.raises((Denied, Unavailable)):
        await office.decide(near, asked)
    await office.decide(office.boss, asked)
    await world.secrets.move(office.again(dev), secret, target)


async def test_an_emergency_of_ones_own_making_is_no_second_person(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db", "hush", app="shop")).id)
    await office.policy("reveal")
    dev, robot = await office.person("owner"), await world.service_account()
    [row] = await world.sql("SELECT principal_id FROM token WHERE hash = $1", dev.token_hash)
    await world.sql("UPDATE token SET created_by = $2 WHERE hash = $1", robot.token_hash, row["principal_id"])
    for holder in (dev, robot):
        binding = await world.bind(holder, "developer", emergency="active")
        await world.sql("UPDATE binding SET created_by = $2 WHERE id = $1", binding, row["principal_id"])
        with pytest.raises(ApprovalRequired):
            await reveal(office, holder, secret)
        await world.bind(holder, "developer", emergency="active")  # somebody else made this one
        assert await reveal(office, holder, secret) == "hush"


async def test_policies_are_bounded_by_their_makers_rights_and_audited(world: World, office: Office) -> None:
    writer = await office.person(frozenset({Permission.APPROVAL_POLICY_WRITE, Permission.APPROVAL_LIST}), app="shop")
    body = ApprovalPolicyCreate(title="all", actions=["reveal"], **ANYWHERE)
    with pytest.raises(Denied):
        await office.service.create_policy(writer, body)
    unset = {**ANYWHERE, "app": "-"}
    with pytest.raises(Denied):
        await office.service.create_policy(writer, ApprovalPolicyCreate(title="none", actions=["reveal"], **unset))
    only = ApprovalPolicyCreate(title="mine", actions=["reveal"], **{**ANYWHERE, "app": "shop"})
    mine = await office.service.create_policy(writer, only)
    theirs = await office.policy("reveal", app="blog")
    with pytest.raises(Denied):
        await office.service.patch_policy(writer, UUID(mine.view.id), ApprovalPolicyPatch(**ANYWHERE))
    for call in (office.service.delete_policy, office.service.get_policy):
        with pytest.raises(Unavailable):
            await call(writer, theirs)
    with pytest.raises(PreconditionFailed):
        await office.service.delete_policy(writer, UUID(mine.view.id), '"r9"')
    changed = await office.service.patch_policy(writer, UUID(mine.view.id), ApprovalPolicyPatch(label="tier=gold"), mine.etag)
    assert (changed.view.label, changed.view.app, changed.etag) == ("tier=gold", "shop", '"r2"')
    with pytest.raises(AlreadyExists):
        await office.policy("reveal", title="mine")
    await office.service.delete_policy(writer, UUID(mine.view.id))
    actions = [r["action"] for r in await world.audit() if r["resource_id"] == UUID(mine.view.id) and r["outcome"] == "allowed"]
    assert actions == ["approval_policy:create", "approval_policy:patch", "approval_policy:delete"]
    for wrong in (
        {"actions": []}, {"actions": ["reveal", "reveal"]}, {"actions": ["peek"]}, {"approvers": 0}, {"approvers": 6},
        {"label": "x"}, {"actions": ["deploy"], "label": "a=b"}, {"waits_seconds": 1}, {"lives_seconds": 10**9},
        {"app": "nowhere"}, {"name": ""}, {"title": "no title!"},
    ):  # fmt: skip
        fields = {"title": "wrong", "actions": ["reveal"], **ANYWHERE, **wrong}
        with pytest.raises(InvalidInput):
            await office.service.create_policy(world.owner, ApprovalPolicyCreate(**fields))
    with pytest.raises(InvalidInput, match="together"):
        await office.service.patch_policy(world.owner, theirs, ApprovalPolicyPatch(app="*"))


async def test_an_owner_undoes_a_policy_that_locks_everybody_out(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    trap = await office.policy("reveal", "activate", "delete", "deploy", approvers=5)
    with pytest.raises(ApprovalRequired):
        await reveal(office, world.owner, secret)
    await office.service.delete_policy(office.again(world.owner), trap)
    assert await reveal(office, world.owner, secret) == "v1"
    assert [r["outcome"] for r in await world.audit() if r["action"] == "approval_policy:delete"] == ["allowed"]


async def test_policies_of_a_label_guard_what_has_it(world: World, office: Office) -> None:
    gold = UUID((await world.secret("gold", labels={"tier": "gold"})).id)
    tin = UUID((await world.secret("tin", labels={"tier": "tin"})).id)
    await office.policy("reveal", label="tier=gold")
    dev = await office.person("developer")
    assert await reveal(office, dev, tin) == "v1"
    with pytest.raises(ApprovalRequired):
        await reveal(office, dev, gold)


async def test_who_asked_goes_with_their_requests(world: World, office: Office) -> None:
    secret = UUID((await world.secret("db")).id)
    await office.policy("reveal")
    dev = await office.person("developer")
    asked = await office.ask(dev, "reveal", secret_id=secret)
    await world.sql("DELETE FROM principal WHERE id = (SELECT principal_id FROM token WHERE hash = $1)", dev.token_hash)
    with pytest.raises(Unavailable):
        await office.service.get_approval(world.owner, UUID(asked.id))

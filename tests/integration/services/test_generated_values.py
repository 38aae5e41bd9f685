"""Secrets that are made of keys and certificates: by whom, signed by which CA, and made again by a rotation."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from cryptography import x509

from overseer.core.errors import Denied, InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.wire.secret_batches import BatchRotate, SecretBatch
from overseer.wire.secrets import GeneratorSpec, SecretCreate, SecretPatch, SecretRotate, SecretUpdate, SecretView, ValueRequest
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def create(world: World, name: str, generate: object, caller: object = None) -> SecretView:
    return (await world.secrets.create(caller or world.owner, SecretCreate(name=name, generate=generate))).view


async def parts(world: World, view: SecretView) -> dict[str, str]:
    return json.loads(text((await world.secrets.reveal(world.owner, UUID(view.id), ValueRequest())).value))


async def test_a_rotation_makes_the_same_kind_again(world: World) -> None:
    view = await create(world, "key", "ssh-ed25519,comment=deploy")
    first = await parts(world, view)
    await world.secrets.rotate(world.owner, UUID(view.id), SecretRotate())
    second = await parts(world, view)
    assert second["public_key"].endswith(" deploy")
    assert first["private_key"] != second["private_key"]
    rows = [row for row in await world.audit() if row["action"] in ("secret:create", "secret:rotate")]
    assert [(row["action"], row["version"]) for row in rows] == [("secret:create", 1), ("secret:rotate", 2)]


async def test_the_structured_form_and_a_template(world: World) -> None:
    template = {"user": "app", "password": "{{hex:16}}"}
    view = await create(world, "login", GeneratorSpec(type="json", template=template))
    made = await parts(world, view)
    assert (made["user"], len(made["password"])) == ("app", 32)
    key = GeneratorSpec(type="ec", length=384)
    await world.secrets.update(world.owner, UUID(view.id), SecretUpdate(generate=key))
    assert set(await parts(world, view)) == {"private_key", "public_key"}


async def test_a_ca_signs_for_who_may_use_it_and_the_log_says_so(world: World) -> None:
    ca = await create(world, "our-ca", "x509,cn=Our CA,is_ca=yes,days=3650")
    spec = f"x509,cn=db.internal,ca={ca.id}"
    writer = await world.service_account(frozenset({Permission.SECRET_WRITE, Permission.SECRET_LIST}))
    with pytest.raises(Denied):
        await create(world, "tls", spec, writer)
    stranger = await world.service_account(frozenset({Permission.SECRET_WRITE}), name="tls")
    with pytest.raises(Unavailable):
        await create(world, "tls", spec, stranger)
    assert [row["outcome"] for row in await world.audit(stranger)] == ["denied"]
    await world.bind(writer, frozenset({Permission.SECRET_USE}), name="our-ca")
    view = await create(world, "tls", spec, world.caller(writer.token_hash))
    made, root = await parts(world, view), await parts(world, ca)
    leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(root["certificate"].encode()))
    used = [row for row in await world.audit() if row["action"] == "secret:use"]
    assert [row["outcome"] for row in used] == ["denied", "denied", "allowed"]
    assert used[-1]["code"] == "signs"
    assert {str(row["resource_id"]) for row in used} == {ca.id}
    with pytest.raises(InvalidInput):
        await create(world, "other", f"x509,cn=a,ca={view.id}")  # a leaf signs nothing


async def test_nobody_makes_a_key_without_the_right_to_store_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = await world.service_account()
    monkeypatch.setattr("overseer.server.services.value_making.make_keys", lambda *_: pytest.fail("a key was made"))
    with pytest.raises((Denied, Unavailable)):
        await create(world, "key", "rsa:4096", stranger)
    assert [(row["action"], row["outcome"]) for row in await world.audit(stranger)] == [("secret:create", "denied")]
    view = await world.secret("plain")
    with pytest.raises(Unavailable):
        await world.secrets.rotate(world.caller(stranger.token_hash), UUID(view.id), SecretRotate(generate="rsa:4096"))


async def test_a_batch_makes_no_keys(world: World) -> None:
    view = await create(world, "key", "ed25519")
    with pytest.raises(InvalidInput) as refused:
        await world.secrets.batch(world.owner, SecretBatch(operations=[BatchRotate(id=UUID(view.id))]))
    assert "of their own" in str(refused.value)


async def test_a_wrong_generator_is_refused_inside_the_gate(world: World) -> None:
    with pytest.raises(InvalidInput):
        await create(world, "key", "rsa:1")
    assert [(row["action"], row["outcome"]) for row in await world.audit(world.owner)] == [("secret:create", "failed")]


async def test_a_schedule_that_would_need_a_ca_is_refused_with_the_secret(world: World) -> None:
    """As on a secret that exists: all that is wrong at once, and before a CA is asked for, whether there is one or not."""
    missing = f"x509,cn=a,ca={uuid4()}"
    both = {"cron": "0 0 30 2 *"}
    for body, codes in (
        (SecretCreate(name="leaf", generate=missing, rotation={"interval_days": 1}), ["bad_rotation"]),
        (SecretCreate(name="leaf", generate=missing, rotation=both), ["bad_cron", "bad_rotation"]),
        (SecretCreate(name="leaf", generate="password:32", rotation={**both, "generate": missing}), ["bad_cron", "bad_rotation"]),
    ):
        with pytest.raises(InvalidInput, match="CA") as refused:
            await world.secrets.create(world.owner, body)
        assert [one.code for one in refused.value.problems] == codes
    assert not await world.sql("SELECT FROM secret WHERE name = 'leaf'")
    assert "secret:use" not in {row["action"] for row in await world.audit()}


async def test_a_schedule_is_not_given_a_ca_by_a_new_version(world: World) -> None:
    ca = await create(world, "our-ca", "x509,cn=Our CA,is_ca=yes,days=3650")
    made = await world.secrets.create(world.owner, SecretCreate(name="leaf", value="v1", rotation={"interval_days": 1}))
    signed = SecretUpdate(generate=f"x509,cn=a,ca={ca.id}")
    with pytest.raises(InvalidInput, match="CA"):
        await world.secrets.update(world.owner, UUID(made.view.id), signed)
    await world.secrets.patch(world.owner, UUID(made.view.id), SecretPatch(rotation={"grace_days": 1}))
    changed = await world.secrets.update(world.owner, UUID(made.view.id), signed)
    assert changed.view.active_version == 2

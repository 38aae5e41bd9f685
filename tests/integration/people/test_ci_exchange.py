"""CI jobs exchange their identity token: the claim sets of GitHub Actions and GitLab CI, as their documentation shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import NotReady, Unauthenticated
from overseer.server.services.ci_service import CiService
from overseer.server.sign_in_settings import CiIssuer
from overseer.wire.access import BindingCreate, ServiceAccountCreate
from overseer.wire.sign_in import ExchangedToken, TokenExchange
from tests.doubles.provider_process import ProviderProcess, oidc_provider
from tests.integration.people.conftest import People
from tests.integration.services.world import together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

AUDIENCE = "https://vault.example"


@pytest.fixture(scope="module")
def process() -> Iterator[ProviderProcess]:
    with oidc_provider() as running:
        yield running


@pytest.fixture
def issuer(process: ProviderProcess) -> ProviderProcess:
    process.control(mode="")
    return process


def github(issuer: ProviderProcess, **changes: Any) -> dict[str, Any]:
    """The claims of a workflow run on a branch."""
    now = int(time.time())
    return {
        "jti": str(uuid4()),
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "aud": AUDIENCE,
        "ref": "refs/heads/main",
        "sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "5433287420",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "deploy",
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_type": "branch",
        "ref_protected": "true",
        "environment": "prod",
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "iss": issuer.issuer,
        "nbf": now - 5,
        "exp": now + 300,
        "iat": now,
        **changes,
    }


def gitlab(issuer: ProviderProcess, **changes: Any) -> dict[str, Any]:
    """The claims of a job's ``id_tokens`` entry."""
    now = int(time.time())
    return {
        "namespace_id": "72",
        "namespace_path": "my-group",
        "project_id": "20",
        "project_path": "my-group/my-project",
        "user_id": "1",
        "user_login": "sample-user",
        "user_email": "sample-user@example.com",
        "user_access_level": "developer",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "public",
        "ci_config_ref_uri": "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
        "jti": str(uuid4()),
        "iss": issuer.issuer,
        "iat": now,
        "nbf": now - 5,
        "exp": now + 3600,
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
        "aud": AUDIENCE,
        **changes,
    }


def table(issuer: ProviderProcess, **changes: Any) -> CiIssuer:
    made = CiIssuer(
        issuer=issuer.issuer,
        audience=AUDIENCE,
        service_account="deploys",
        claims={"repository_id": "74", "ref": "refs/heads/main"},
        allow_private=True,
    )
    return replace(made, **changes)


@pytest.fixture
async def account(people: People) -> UUID:
    """The service account ``deploys``, which may see secrets of the shop."""
    made = await people.services.identity.create_service_account(people.world.owner, ServiceAccountCreate(name="deploys"))
    binding = BindingCreate(principal="deploys", role="viewer", app="shop", environment="*", node="*", name="*")
    await people.services.identity.create_binding(people.world.owner, binding)
    return UUID(made.id)


def service(people: People, **tables: CiIssuer) -> CiService:
    return CiService(people.world.gate, tables)


async def exchanged(people: People, ci: CiService, token: str, name: str = "job") -> ExchangedToken:
    return await ci.exchange(people.stranger(), TokenExchange(name=name, token=token))


async def refusal(people: People, ci: CiService, token: str, name: str = "job") -> str:
    """The code in the audit log of an exchange that has to be refused."""
    caller = people.stranger()
    with pytest.raises(Unauthenticated) as caught:
        await ci.exchange(caller, TokenExchange(name=name, token=token))
    assert "this token is not accepted here" in caught.value.message
    [row] = await people.world.audit(caller)
    assert row["outcome"] == "denied"
    return str(row["code"])


async def text_of(people: People, action: str) -> str:
    rows = await people.world.sql(
        "SELECT t.reason FROM audit a JOIN audit_text t ON t.id = a.text_id WHERE a.action = $1 ORDER BY a.xact DESC, a.id DESC",
        action,
    )
    return str(rows[0]["reason"])


async def test_a_job_of_github_becomes_the_service_account(people: People, issuer: ProviderProcess, account: UUID) -> None:
    ci = service(people, job=table(issuer))
    made = await exchanged(people, ci, issuer.sign(github(issuer)))
    me = await people.services.identity.me(people.holder(made.token))
    assert (me.name, me.id, me.token_id) == ("deploys", str(account), made.id)
    life = (made.expires_at - await people.now()).total_seconds()
    assert 200 < life <= 300  # the job's own end, which is before the table's 900 seconds
    [row] = [row for row in await people.world.audit() if row["action"] == "token:exchange"]
    assert (row["outcome"], row["actor_name"], row["code"], str(row["token_id"])) == ("allowed", "deploys", "job", made.id)
    text = await text_of(people, "token:exchange")
    assert text.startswith("repository=octo-org/octo-repo repository_id=74 ref=refs/heads/main")
    assert "run_id=5433287420" in text
    assert "actor=octocat" in text


async def test_a_job_of_gitlab_becomes_the_service_account(people: People, issuer: ProviderProcess, account: UUID) -> None:
    ci = service(people, job=table(issuer, claims={"project_id": "20", "ref_protected": "true", "runner_id": "1"}))
    made = await exchanged(people, ci, issuer.sign(gitlab(issuer)))
    life = (made.expires_at - await people.now()).total_seconds()
    assert 800 < life <= 900  # the table's limit, which is before the job's end
    text = await text_of(people, "token:exchange")
    assert "project_path=my-group/my-project project_id=20" in text
    assert "example.com" not in text  # no e-mail address: it is not on the list


ANOTHER_JOB: list[tuple[dict[str, Any], str]] = [
    ({"repository_id": "75"}, "wrong_claim"),
    ({"repository_id": None}, "wrong_claim"),
    ({"repository_id": True}, "wrong_claim"),
    ({"repository_id": ["74"]}, "wrong_claim"),
    ({"ref": "refs/heads/mainx"}, "wrong_claim"),
    ({"ref": "refs/pull/1/merge"}, "wrong_claim"),
    ({"aud": "https://another.example"}, "wrong_audience"),
    ({"aud": [AUDIENCE, "https://another.example"]}, "wrong_audience"),
    ({"aud": f"{AUDIENCE}/"}, "wrong_audience"),
    ({"iss": "https://token.actions.githubusercontent.com"}, "wrong_issuer"),
    ({"jti": None}, "no_jti"),
    ({"jti": ""}, "no_jti"),
    ({"exp": 1}, "expired"),
    ({"exp": "soon"}, "bad_times"),
    ({"iat": None}, "bad_times"),
    ({"iat": 9_999_999_999}, "not_yet_valid"),
    ({"nbf": 9_999_999_999}, "not_yet_valid"),
]


async def test_another_job_is_refused(people: People, issuer: ProviderProcess, account: UUID) -> None:
    ci = service(people, job=table(issuer))
    for changes, code in ANOTHER_JOB:
        claims = {name: value for name, value in github(issuer, **changes).items() if value is not None}
        assert await refusal(people, ci, issuer.sign(claims)) == code, changes
    assert await people.world.sql("SELECT FROM token WHERE principal_id = $1", account) == []


WEAK_SIGNATURES = {
    "algorithm_none": "malformed",
    "unsigned": "malformed",
    "hmac_with_public_key": "bad_algorithm",
    "signed_by_another_key": "bad_signature",
    "key_in_the_header": "unknown_key",
    "critical_header": "malformed",
}


async def test_a_signature_that_proves_nothing_is_refused(people: People, issuer: ProviderProcess, account: UUID) -> None:
    ci = service(people, job=table(issuer))
    for mode, code in WEAK_SIGNATURES.items():
        issuer.control(mode=mode)
        token = issuer.sign(github(issuer))
        issuer.control(mode="")
        assert await refusal(people, ci, token) == code, mode


async def test_what_is_no_token_is_refused(people: People, issuer: ProviderProcess, account: UUID) -> None:
    ci = service(people, job=table(issuer))
    for token in ("", "a.b.c", "x" * 40_000, "\ud800", "e30.e30.AAAA", "bnVsbA.e30.AAAA"):
        assert await refusal(people, ci, token) in ("malformed", "bad_algorithm", "unknown_key")


async def test_a_token_is_exchanged_once_on_whichever_replica(people: People, issuer: ProviderProcess, account: UUID) -> None:
    token = issuer.sign(github(issuer))
    replicas = [service(people, job=table(issuer)) for _ in range(5)]
    ended = await together(*(exchanged(people, ci, token) for ci in replicas))
    assert len([one for one in ended if isinstance(one, ExchangedToken)]) == 1
    assert await refusal(people, replicas[0], token) == "replayed"


async def test_the_same_jti_of_another_issuer_is_another_token(people: People, issuer: ProviderProcess, account: UUID) -> None:
    claims = github(issuer)
    with oidc_provider() as second:
        ci = service(people, job=table(issuer), other=table(second))
        await exchanged(people, ci, issuer.sign(claims))
        await exchanged(people, ci, second.sign({**claims, "iss": second.issuer}), "other")
        assert await refusal(people, ci, second.sign(github(issuer))) == "unknown_key"


async def test_without_its_service_account_nothing_is_given_and_the_token_stays_good(
    people: People, issuer: ProviderProcess
) -> None:
    ci = service(people, job=table(issuer))
    token = issuer.sign(github(issuer))
    assert await refusal(people, ci, token) == "no_service_account"
    await people.services.identity.create_service_account(people.world.owner, ServiceAccountCreate(name="deploys"))
    await exchanged(people, ci, token)


async def test_an_unknown_name_and_a_user_of_that_name_are_refused(people: People, issuer: ProviderProcess) -> None:
    await people.user("deploys")
    ci = service(people, job=table(issuer))
    assert await refusal(people, ci, issuer.sign(github(issuer)), "another") == "unknown_issuer"
    assert await refusal(people, ci, issuer.sign(github(issuer))) == "no_service_account"


async def test_keys_without_discovery_and_an_issuer_that_is_down(people: People, issuer: ProviderProcess, account: UUID) -> None:
    direct = service(people, job=table(issuer, jwks_uri=f"{issuer.issuer}/jwks"))
    before = issuer.control()["requests"].get("/.well-known/openid-configuration", 0)
    await exchanged(people, direct, issuer.sign(github(issuer)))
    assert issuer.control()["requests"].get("/.well-known/openid-configuration", 0) == before
    token = issuer.sign(github(issuer))
    issuer.control(mode="down")
    with pytest.raises(NotReady, match="the CI issuer job"):
        await exchanged(people, service(people, job=table(issuer)), token)


async def test_a_claim_that_holds_anything_comes_into_the_log_cut_and_printable(
    people: People, issuer: ProviderProcess, account: UUID
) -> None:
    token = issuer.sign(github(issuer, actor="x" * 5000, environment="a\nb", workflow_ref="y" * 5000))
    await exchanged(people, service(people, job=table(issuer)), token)
    text = await text_of(people, "token:exchange")
    assert len(text) <= 500
    assert "environment" not in text
    assert "x" * 101 not in text

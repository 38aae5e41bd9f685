"""The awskms seal against a KMS that encrypts, checks the encryption context and enforces policies."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import uuid4

import pytest

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.server.seals.selection import make_seal
from tests.integration.seals.kms_server import REGION, KmsServer, refusing_server
from tests.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("anyone")]
INSTANCE = uuid4()


async def test_what_kms_wrapped_kms_unwraps_for_this_instance_alone(kms: KmsServer) -> None:
    spec = kms.spec(kms.key())
    made = await make_seal(spec, instance_id=INSTANCE).create()
    assert await make_seal(spec, made.config, instance_id=INSTANCE).root_key() == made.root_key
    assert made.root_key.reveal() not in made.config
    assert made.root_key.reveal().hex() not in made.config.decode()
    with pytest.raises(KeyProblem, match="wrapped for another instance"):
        await make_seal(spec, made.config, instance_id=uuid4()).root_key()


async def test_an_alias_and_an_id_name_the_key_too(kms: KmsServer) -> None:
    arn = kms.key()
    kms.client("kms").create_alias(AliasName="alias/overseer", TargetKeyId=arn)
    made = await make_seal(kms.spec("alias/overseer"), instance_id=INSTANCE).create()
    for name in ("alias/overseer", arn, arn.rpartition("/")[2]):
        assert await make_seal(kms.spec(name), made.config, instance_id=INSTANCE).root_key() == made.root_key


async def test_a_wrap_of_another_key_does_not_open(kms: KmsServer) -> None:
    made = await make_seal(kms.spec(kms.key()), instance_id=INSTANCE).create()
    with pytest.raises(KeyProblem, match="AWS refused"):
        await make_seal(kms.spec(kms.key()), made.config, instance_id=INSTANCE).root_key()


async def test_a_damaged_wrap_does_not_open(kms: KmsServer) -> None:
    spec = kms.spec(kms.key())
    made = await make_seal(spec, instance_id=INSTANCE).create()
    text = json.loads(made.config)["ciphertext"]
    for wrong in (text[:40] + ("A" if text[40] != "A" else "B") + text[41:], "AAAA", "not base64!"):
        changed = json.dumps({"format": 1, "ciphertext": wrong}).encode()
        with pytest.raises(KeyProblem):
            await make_seal(spec, changed, instance_id=INSTANCE).root_key()
    for config in (b"", b"{}", b"[1]", b'{"format":2,"ciphertext":"x"}', b'{"format":1,"ciphertext":7}', b"\xff"):
        with pytest.raises(KeyProblem):
            await make_seal(spec, config, instance_id=INSTANCE).root_key()


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (400, "DisabledException", KeyProblem, "is disabled: enable it"),
        (400, "KMSInvalidStateException", KeyProblem, "waits for its deletion"),
        (400, "IncorrectKeyException", KeyProblem, "another KMS key"),
        (400, "InvalidKeyUsageException", KeyProblem, "take a symmetric key"),
        (400, "ExpiredTokenException", KeyProblem, "does not accept the credentials"),
        (400, "UnrecognizedClientException", KeyProblem, "does not accept the credentials"),
        (400, "com.amazonaws.kms#AccessDeniedException", KeyProblem, "needs kms:Decrypt"),
        (400, "SomethingNewException", KeyProblem, "refused the request"),
        (400, "ThrottlingException", NotReady, "tries again"),
        (500, "KMSInternalException", NotReady, "tries again"),
        (503, "DependencyTimeoutException", NotReady, "tries again"),
        (502, "", NotReady, "tries again"),
    ],
)
async def test_each_refusal_says_what_to_do(
    kms: KmsServer, status: int, code: str, error: type[OverseerError], says: str
) -> None:
    """Refusals that the emulator does not make, in the form of AWS's JSON protocol; their texts are not repeated."""
    made = await make_seal(kms.spec(kms.key()), instance_id=INSTANCE).create()
    body = json.dumps({"__type": code, "message": "canary-of-aws"}).encode() if code else b"<html>canary-of-aws</html>"
    with refusing_server(status, body) as url, pytest.raises(error, match=says) as refused:
        await make_seal(f"awskms:alias/a?region={REGION}&endpoint={url}", made.config, instance_id=INSTANCE).root_key()
    assert "canary" not in refused.value.message


async def test_without_the_permission_it_stays_closed_and_the_message_says_which(
    kms: KmsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = kms.key()
    made = await make_seal(kms.spec(key), instance_id=INSTANCE).create()
    able, unable = kms.user("kms:Decrypt"), kms.user("kms:Encrypt")
    seal = make_seal(kms.spec(key), made.config, instance_id=INSTANCE)
    with kms.enforcing():
        for name, value in unable.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(KeyProblem, match="needs kms:Decrypt"):
            await seal.root_key()
        for name, value in able.items():
            monkeypatch.setenv(name, value)
        assert await seal.root_key() == made.root_key
        with pytest.raises(KeyProblem, match="kms:Encrypt"):
            await make_seal(kms.spec(key), instance_id=INSTANCE).create()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-canary")
        with pytest.raises(KeyProblem, match="credentials that are valid") as refused:
            await seal.root_key()
    assert "canary" not in refused.value.message


async def test_no_credentials_no_region_no_key(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyProblem, match="no such KMS key"):
        await make_seal(kms.spec("alias/nothing"), instance_id=INSTANCE).create()
    with pytest.raises(ConfigurationProblem, match="region"):
        await make_seal(f"awskms:alias/a?endpoint={kms.url}", instance_id=INSTANCE).create()
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    key = kms.key()
    assert (await make_seal(f"awskms:{key}?endpoint={kms.url}", instance_id=INSTANCE).create()).config
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeyProblem, match="no AWS credentials"):
        await make_seal(kms.spec(key), instance_id=INSTANCE).create()


async def test_what_does_not_answer_is_for_later(kms: KmsServer) -> None:
    made = await make_seal(kms.spec(kms.key()), instance_id=INSTANCE).create()
    spec = f"awskms:alias/a?region={REGION}&endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(NotReady, match="cannot be reached") as later:
        await make_seal(spec, made.config, instance_id=INSTANCE).root_key()
    assert later.value.retry_after


async def test_it_takes_no_passphrase_and_makes_no_second(kms: KmsServer) -> None:
    spec = kms.spec(kms.key())
    made = await make_seal(spec, instance_id=INSTANCE).create()
    with pytest.raises(KeyProblem, match="exists already"):
        await make_seal(spec, made.config, instance_id=INSTANCE).create()
    for call in (make_seal(spec, instance_id=INSTANCE).create, make_seal(spec, made.config, instance_id=INSTANCE).root_key):
        with pytest.raises(KeyProblem, match="takes no passphrase"):
            await call(SecretValue("x"))


def test_the_sdk_is_loaded_for_this_seal_alone() -> None:
    code = "import sys; from overseer.server.seals.selection import make_seal; make_seal('awskms:alias/a'); "
    code += "make_seal('vault-transit:https://v.example?key=k&token_file=/t'); "
    code += "sys.exit(any(name in sys.modules for name in ('botocore', 'httpx')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""AWS Secrets Manager: botocore finds credentials and signs; the requests go out under the operator's rules like all others.

A reference is the name of a secret; ``@STAGE`` (``AWSPREVIOUS`` or a label of one's own) or ``@ID`` (of a version) pins one; ids
have 32 letters or more, so that a shorter word is a stage. Without ``access_key_id`` the
default chain of the server's own machine is used, which the operator's configuration has to allow (``host_identity``): otherwise
whoever may set up backends could act as the server. Up to 20 secrets are read with one request.

botocore is imported when such a backend is used, and at no other time (extra ``aws``).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import MOST_LISTED, BackendFailure, Fetched, Key, Stage
from overseer.server.backends.service import Round, Service, Setup, decoded, each, host_of, not_understood
from overseer.server.outgoing import Answer

SETTINGS: Final = (
    Key("region", "such as eu-central-1"),
    Key("access_key_id", "empty: the server's own identity, where the operator allows it", ""),
    Key("address", "https://HOST[:PORT] of another endpoint than the region's", ""),
    Key("ca_pem", "certificates (PEM) of the CA that alone is trusted; else those of the system", ""),
)
CREDENTIALS: Final = (
    Key("secret_access_key", "belongs to access_key_id", ""),
    Key("session_token", "of temporary credentials", ""),
)
IN_BATCH: Final = 20
#: The shortest id of a version (ClientRequestToken).
LEAST_ID: Final = 32
_CREDENTIALS_BAD: Final = frozenset(
    {
        "ExpiredTokenException",
        "ExpiredToken",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "IncompleteSignature",
        "MissingAuthenticationTokenException",
    }
)
_LATER: Final = frozenset({"ThrottlingException", "InternalServiceError", "RequestLimitExceeded", "ServiceUnavailable"})


class _Value(msgspec.Struct, rename="pascal"):
    name: str
    secret_string: str | None = None
    secret_binary: str | None = None
    arn: str = msgspec.field(default="", name="ARN")


class _Failed(msgspec.Struct, rename="pascal"):
    secret_id: str
    error_code: str = ""


class _Batch(msgspec.Struct, rename="pascal"):
    secret_values: list[_Value] = []
    errors: list[_Failed] = []
    next_token: str | None = None


class _Listed(msgspec.Struct, rename="pascal"):
    name: str


class _List(msgspec.Struct, rename="pascal"):
    secret_list: list[_Listed]
    next_token: str | None = None


class AwsSecretsManager:
    """See the module's text."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        region = setup.settings["region"]
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        self._address = setup.settings["address"].rstrip("/") or f"https://secretsmanager.{region}.{suffix}"
        self._service = Service(setup, self._address, ca_pem=setup.settings["ca_pem"])
        self._found: Any = None

    async def check(self) -> None:
        """Find credentials and have AWS judge them: the smallest list."""
        async with self._service.round() as connection:
            await self._call(connection, "ListSecrets", {"MaxResults": 1}, "ListSecrets")

    async def fetch_many(self, references: Sequence[BackendReference]) -> Fetched:
        """Batches of what is not pinned, and the rest one by one; also where the policy lacks BatchGetSecretValue."""
        plain = [one for one in references if not one.version]
        alone = [one for one in references if one.version]
        if len(plain) == 1:
            plain, alone = [], list(references)
        found: dict[BackendReference, SecretValue | BackendFailure] = {}
        async with self._service.round() as connection:
            chunks = [tuple(plain[at : at + IN_BATCH]) for at in range(0, len(plain), IN_BATCH)]
            for chunk, batch in (await each(chunks, lambda chunk: self._batch(connection, chunk))).items():
                if not isinstance(batch, BackendFailure):
                    found |= batch
                elif batch.stage is Stage.PERMISSION:
                    alone += chunk
                else:
                    found |= dict.fromkeys(chunk, batch)
            found |= await each(alone, lambda reference: self._one(connection, reference))
        return found

    async def list(self, folder: str) -> Sequence[str]:
        """Names that begin with ``folder``: AWS keeps no folders, a slash is a letter."""
        names: list[str] = []
        asked: dict[str, Any] = {"MaxResults": 100}
        if folder:
            asked["Filters"] = [{"Key": "name", "Values": [folder]}]
        async with self._service.round() as connection:
            while len(names) < MOST_LISTED:
                page = decoded(await self._call(connection, "ListSecrets", asked, "ListSecrets"), _List)
                names += [one.name for one in page.secret_list if one.name.startswith(folder)]
                if not page.next_token:
                    break
                asked["NextToken"] = page.next_token
        return sorted(names)[:MOST_LISTED]

    async def _batch(
        self, connection: Round, chunk: Sequence[BackendReference]
    ) -> dict[BackendReference, SecretValue | BackendFailure]:
        body = {"SecretIdList": [one.path for one in chunk]}
        answer = decoded(await self._call(connection, "BatchGetSecretValue", body, "BatchGetSecretValue"), _Batch)
        values = {one.name: _value(one) for one in answer.secret_values}
        failures = {one.secret_id: _meaning(one.error_code, one.secret_id) for one in answer.errors}
        return {one: values.get(one.path) or failures.get(one.path) or _meaning("", one.path) for one in chunk}

    async def _one(self, connection: Round, reference: BackendReference) -> SecretValue:
        body = {"SecretId": reference.path}
        if reference.version:
            body["VersionId" if len(reference.version) >= LEAST_ID else "VersionStage"] = reference.version
        return _value(decoded(await self._call(connection, "GetSecretValue", body, reference.path), _Value))

    async def _call(self, connection: Round, operation: str, body: dict[str, Any], what: str) -> Answer:
        content = msgspec.json.encode(body)
        headers = await asyncio.to_thread(self._signed, operation, content)
        answer = await connection.send("POST", self._address + "/", headers=headers, body=content)
        if answer.status == 200:
            return answer
        code = answer.json.get("__type", "") if isinstance(answer.json, dict) else ""
        code = str(code).rpartition("#")[2].partition(":")[0]
        raise _meaning(code, what) if code else not_understood(answer)

    def _signed(self, operation: str, content: bytes) -> dict[str, str]:
        """The headers of a request, signed (Signature Version 4). In a thread: the default chain may ask the machine's cloud."""
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
        except ModuleNotFoundError:
            raise BackendFailure(Stage.AUTH, "backends in AWS need botocore: install overseer[aws]") from None
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"secretsmanager.{operation}"}
        request = AWSRequest("POST", self._address + "/", data=content, headers=headers)
        SigV4Auth(self._credentials(), "secretsmanager", self._setup.settings["region"]).add_auth(request)
        return dict(request.headers.items())

    def _credentials(self) -> Any:
        import botocore.session
        from botocore.credentials import Credentials
        from botocore.exceptions import BotoCoreError

        setup = self._setup
        key_id = setup.settings["access_key_id"]
        if key_id:
            token = setup.credentials.get("session_token") or None
            return Credentials(key_id, setup.credential("secret_access_key"), token)
        if not setup.rules.host_identity(host_of(self._address)):
            why = "the operator's configuration does not lend the server's identity (host_identity): set access_key_id"
            raise BackendFailure(Stage.AUTH, why)
        if self._found is None:
            try:
                self._found = botocore.session.Session().get_credentials()
            except BotoCoreError:
                self._found = None
        if self._found is None:
            raise BackendFailure(Stage.AUTH, "no AWS credentials were found: give the machine a role, or set access_key_id")
        return self._found.get_frozen_credentials()


def _value(found: _Value) -> SecretValue:
    if found.secret_string is not None:
        return SecretValue(found.secret_string)
    try:
        return SecretValue(base64.b64decode(found.secret_binary or "", validate=True))
    except ValueError:
        raise BackendFailure(Stage.ANSWER, "it gives bytes that are no base64") from None


def _meaning(code: str, what: str) -> BackendFailure:
    """What an error of AWS means and what to do; AWS's own text is not repeated."""
    if code in _CREDENTIALS_BAD:
        return BackendFailure(Stage.AUTH, f"AWS does not accept the credentials ({code})")
    if code == "AccessDeniedException":
        return BackendFailure(Stage.PERMISSION, f"the policy in AWS does not allow {what}, or the use of its KMS key")
    if code in ("ResourceNotFoundException", "InvalidRequestException", ""):
        return BackendFailure(Stage.PATH, f"AWS has no secret {what} in this region, or it waits for its deletion")
    if code == "DecryptionFailure":
        return BackendFailure(Stage.PERMISSION, f"AWS cannot decrypt {what}: its KMS key refuses")
    if code in _LATER:
        return BackendFailure(Stage.UNAVAILABLE, f"AWS cannot answer now ({code})")
    return BackendFailure(Stage.ANSWER, f"AWS refused the request ({code[:60]})")

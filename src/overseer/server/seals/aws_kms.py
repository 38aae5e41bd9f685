"""The ``awskms`` seal: AWS Key Management Service wraps the root key; the database keeps the ciphertext.

Guarantees: the wrap is bound to this instance by KMS's encryption context, which is also what a key policy can demand and what
CloudTrail shows; only the configured key is asked to decrypt, so a stored ciphertext of somebody else's key does not open.
Whether the machine may unseal is the decision of AWS at each start, and can be withdrawn there.

What it will not do: hold AWS credentials (botocore's chain finds them: environment, files, container or instance role), or
protect against whoever can act as this machine towards AWS.

botocore is imported when this seal is configured, and at no other time (extra ``aws``).
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.contract import NewSeal
from overseer.server.seals.wrapped_root import PURPOSE, bound_to, parse_wrapped, refuse_given, serialise_wrapped, unwrapped

SECONDS: Final = 5
_LATER: Final = frozenset(
    {
        "ThrottlingException",
        "KMSInternalException",
        "DependencyTimeoutException",
        "KeyUnavailableException",
        "ServiceUnavailable",
        "InternalFailure",
        "RequestLimitExceeded",
    }
)
_CREDENTIALS: Final = "AWS does not accept the credentials that were found: check the server's role or AWS_* variables"
_MEANING: Final = {
    "AccessDeniedException": "AWS refused: the server's identity needs kms:Decrypt on the key (and kms:Encrypt to make the seal)",
    "DisabledException": "the KMS key is disabled: enable it",
    "KMSInvalidStateException": "the KMS key is disabled or waits for its deletion: cancel that and enable it",
    "NotFoundException": "there is no such KMS key in this account and region: check key and region in OVERSEER_SEAL",
    "InvalidCiphertextException": "the stored seal was wrapped for another instance or by another key, or was damaged",
    "IncorrectKeyException": "the stored seal was wrapped by another KMS key than the one that OVERSEER_SEAL names",
    "InvalidKeyUsageException": "the KMS key cannot encrypt and decrypt: take a symmetric key",
    "ExpiredTokenException": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class KmsKey:
    """Which key, and where: its id, ARN or alias; region and endpoint where AWS's own configuration is not to decide."""

    key: str = field(repr=False)
    region: str | None = None
    endpoint: str | None = None


class AwsKmsSeal:
    """The seal ``awskms:KEY``. ``config`` is what the database keeps, None for a new one."""

    kind = "awskms"
    needs_operator = False
    asks_service = True

    def __init__(self, place: KmsKey, config: bytes | None, instance_id: UUID | None) -> None:
        self._place = place
        self._config = config
        self._instance_id = instance_id

    def describe(self) -> str:
        return f"AWS KMS key {self._place.key}: protects a stolen machine once AWS refuses it; every start asks AWS"

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """A new root key, wrapped by KMS. Raises :class:`KeyProblem`, :class:`NotReady`, :class:`ConfigurationProblem`."""
        refuse_given(given, self.kind)
        if self._config is not None:
            raise KeyProblem("the awskms seal exists already")
        root_key = RootKey.generate()
        answer = await self._call("encrypt", Plaintext=root_key.reveal())
        return NewSeal(root_key, serialise_wrapped(base64.b64encode(answer["CiphertextBlob"]).decode("ascii")))

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The root key, unwrapped by KMS; errors as :meth:`create`."""
        refuse_given(given, self.kind)
        try:
            blob = base64.b64decode(parse_wrapped(self._config, self.kind), validate=True)
        except ValueError:
            raise KeyProblem("the stored configuration of the awskms seal is damaged or of a newer version") from None
        answer = await self._call("decrypt", CiphertextBlob=blob)
        return unwrapped(answer["Plaintext"], self.kind)

    async def _call(self, method: str, **parameters: bytes) -> dict[str, Any]:
        context = {"overseer:instance": str(bound_to(self._instance_id)), "overseer:purpose": PURPOSE}
        return await asyncio.to_thread(_call, self._place, method, EncryptionContext=context, **parameters)


def _call(place: KmsKey, method: str, **parameters: Any) -> dict[str, Any]:
    """One call, without botocore's own retries: the supervisor tries again, and people want to see why it waits."""
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        raise ConfigurationProblem("the awskms seal needs botocore: install overseer[aws]") from None
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1})
    try:
        session = botocore.session.Session()
        client = session.create_client("kms", region_name=place.region, endpoint_url=place.endpoint, config=config)
        try:
            answer: dict[str, Any] = getattr(client, method)(KeyId=place.key, **parameters)
            return answer
        finally:
            client.close()
    except (BotoCoreError, ClientError, ValueError) as error:
        raise _translated(error) from None


def _translated(error: Exception) -> OverseerError:
    """What it means and what to do. AWS's own texts are not repeated: they may name more than the operator should log."""
    response: dict[str, Any] = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MEANING:
        return KeyProblem(f"{_MEANING[code]} ({code})")
    if code in _LATER or status >= 500:
        return NotReady(f"AWS KMS cannot answer now ({code or status}); the server tries again", retry_after=10)
    if code in ("403", "AccessDenied"):  # what stands between us and KMS refuses in a form that is not KMS's own
        return KeyProblem(f"{_MEANING['AccessDeniedException']}, and credentials that are valid")
    return KeyProblem(f"AWS KMS refused the request ({code[:80]})") if code else _unasked(type(error).__name__)


def _unasked(name: str) -> OverseerError:
    """No request came to an answer; ``name`` is that of botocore's exception."""
    if name in ("NoRegionError", "InvalidRegionError", "ProfileNotFound", "ConfigParseError", "ValueError"):
        return ConfigurationProblem(f"AWS KMS cannot be asked ({name}): check region and endpoint in OVERSEER_SEAL")
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"):
        return KeyProblem(f"no AWS credentials were found ({name}): give the machine a role, or set AWS_* variables")
    return NotReady(f"AWS KMS cannot be reached ({name}); the server tries again", retry_after=10)

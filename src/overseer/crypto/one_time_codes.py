"""Second factors of people: codes of an authenticator (TOTP, RFC 6238) and recovery codes.

Guarantee: the secret has 160 random bits (RFC 4226, requirement 6); a code is compared in constant time and only with the step of
now and its two neighbours (RFC 6238, section 5.2: one step for clocks that differ and slow typing). :func:`matching_step` gives
the *step* and not a yes, so that the caller can store it and accept each step once, on every replica.

SHA-1, six digits and thirty seconds are what every authenticator app understands; HMAC-SHA-1 is not weakened by collisions.

A recovery code has 120 random bits, so its plain SHA-256 is enough to store (NIST SP 800-63B, 3.1.2.2: look-up secrets of at
least 112 bits need no salt and no slow hash).

What it will not do: limit guesses. A code has a million values; the caller counts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import quote

from overseer.core.secret_value import SecretValue

SECRET_BYTES: Final = 20
STEP_SECONDS: Final = 30
DIGITS: Final = 6
NEIGHBOURS: Final = 1
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 15  # 24 characters of base32
_GROUP: Final = 4


def new_secret() -> SecretValue:
    """The 20 bytes that the authenticator and the server share."""
    return SecretValue(secrets.token_bytes(SECRET_BYTES))


def secret_text(secret: SecretValue) -> str:
    """The secret as people type it: 32 characters of base32 (RFC 4648)."""
    return base64.b32encode(secret.reveal()).decode("ascii")


def key_uri(secret: SecretValue, issuer: str, account: str) -> str:
    """The ``otpauth://`` text that apps read from a QR code; it holds the secret."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    fields = f"secret={secret_text(secret)}&issuer={quote(issuer, safe='')}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    return f"otpauth://totp/{label}?{fields}"


def code_at(secret: SecretValue, step: int) -> str:
    """The code of one step (RFC 4226, section 5.3)."""
    digest = hmac.digest(secret.reveal(), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: SecretValue, code: str, seconds: float, last_step: int) -> int | None:
    """The step that ``code`` belongs to at ``seconds`` since 1970, later than ``last_step``; None where there is none.

    All candidates are compared whatever the first ones gave.
    """
    now = int(seconds) // STEP_SECONDS
    sent, found = code.encode("utf-8"), None
    for step in range(max(now - NEIGHBOURS, last_step + 1), now + NEIGHBOURS + 1):
        if hmac.compare_digest(code_at(secret, step).encode("ascii"), sent) and found is None:
            found = step
    return found


def is_totp_form(code: str) -> bool:
    """True for six digits; anything else can only be a recovery code."""
    return len(code) == DIGITS and code.isascii() and code.isdigit()


def new_recovery_codes() -> tuple[list[SecretValue], list[bytes]]:
    """Ten codes to show once, and their hashes to store."""
    codes = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode("ascii").lower()
        codes.append(SecretValue("-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))))
    return codes, [recovery_hash(code.reveal().decode("ascii")) for code in codes]


def recovery_hash(code: str) -> bytes:
    """SHA-256 of a recovery code as typed: case, blanks and dashes do not matter."""
    plain = "".join(character for character in code.lower() if not character.isspace() and character != "-")
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()

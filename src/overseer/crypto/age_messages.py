"""age files small enough for memory, with ASCII armour: what people mail and what SOPS keeps its keys in.

Guarantees: as ``age_stream``, whose format this is; armour is the strict form of RFC 7468 that age writes, and anything before or
after it is refused. An error says whether a recipient is none or no identity fits, and holds neither a key nor text of the file.
What it will not do: passphrases, SSH keys, plugins.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Final

from overseer.core.errors import DecryptionFailed, InvalidInput, KeyProblem, Problem
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Recipient
from overseer.crypto.age_stream import AgeReader, AgeWriter

_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
_END: Final = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS: Final = 64


def encrypt_to(plaintext: SecretValue, recipients: Sequence[str]) -> bytes:
    """``plaintext`` for each of ``recipients`` (``age1…``), armoured. Raises :class:`InvalidInput` with those that are none."""
    if not recipients:
        raise InvalidInput("name at least one recipient: an age public key (age1…)")
    known, problems = [], []
    for number, text in enumerate(recipients):
        try:
            known.append(Recipient.parse(text.strip()))
        except InvalidInput as error:
            problems.append(Problem(f"recipients[{number}]", error.message, "bad_recipient"))
    if problems:
        raise InvalidInput("nothing was encrypted: some recipients are none", problems=problems)
    writer = AgeWriter(known)
    sealed = writer.update(plaintext.reveal()) + writer.finish()
    body = base64.b64encode(sealed)
    lines = [body[place : place + _COLUMNS] + b"\n" for place in range(0, len(body), _COLUMNS)]
    return _BEGIN + b"".join(lines) + _END + b"\n"


def decrypt_with(sealed: bytes, identities: Sequence[Identity]) -> SecretValue:
    """What one of ``identities`` opens, armoured or not. Raises :class:`DecryptionFailed`, :class:`InvalidInput`."""
    try:
        return SecretValue(AgeReader(io.BytesIO(_unarmoured(sealed)), identities).read())
    except KeyProblem:
        raise DecryptionFailed("no identity opens this age file") from None


def _unarmoured(sealed: bytes) -> bytes:
    text = sealed.replace(b"\r\n", b"\n").strip()
    if not text.startswith(_BEGIN):
        return sealed
    lines = text.removeprefix(_BEGIN).removesuffix(_END).removesuffix(b"\n").split(b"\n")
    if not text.endswith(b"\n" + _END) or any(len(line) != _COLUMNS for line in lines[:-1]) or len(lines[-1]) > _COLUMNS:
        raise DecryptionFailed("the file's armour is damaged")
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        raise DecryptionFailed("the file's armour is damaged") from None

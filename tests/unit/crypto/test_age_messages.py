"""Small age files with armour: against pyrage in both directions, and nothing opens that was changed."""

from __future__ import annotations

import pyrage
import pytest

from overseer.core.errors import DecryptionFailed, InvalidInput, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_messages import decrypt_with, encrypt_to

CANARY = SecretValue("canary-3fae77")
IDENTITY = Identity.generate()
RECIPIENT = str(IDENTITY.recipient)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 70_000])
def test_both_directions(size: int) -> None:
    plaintext = SecretValue(b"x" * size)
    other = pyrage.x25519.Identity.from_str(IDENTITY.written().reveal().decode())
    sealed = encrypt_to(plaintext, [str(Identity.generate().recipient), RECIPIENT])
    assert pyrage.decrypt(sealed, [other]) == plaintext.reveal()
    assert decrypt_with(sealed, [Identity.generate(), IDENTITY]) == plaintext
    for armored in (False, True):
        assert decrypt_with(pyrage.encrypt(plaintext.reveal(), [other.to_public()], armored=armored), [IDENTITY]) == plaintext


def test_what_was_changed_does_not_open() -> None:
    sealed = encrypt_to(CANARY, [RECIPIENT])
    assert CANARY.reveal() not in sealed
    lines = sealed.splitlines(keepends=True)
    changed = [sealed[:-10], b"".join(lines[:2] + lines[3:]), sealed.replace(lines[2], lines[2][:-2] + b"\n"), b"x" + sealed]
    changed += [sealed.replace(lines[2], lines[2].swapcase()), sealed.replace(lines[2], b"*" * 64 + b"\n")]
    for one in changed:
        with pytest.raises(OverseerError):
            decrypt_with(one, [IDENTITY])
    with pytest.raises(DecryptionFailed, match="no identity"):
        decrypt_with(sealed, [Identity.generate()])


def test_recipients_that_are_none_are_all_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        encrypt_to(CANARY, [RECIPIENT, "age1nope", IDENTITY.written().reveal().decode()])
    assert [problem.place for problem in caught.value.problems] == ["recipients[1]", "recipients[2]"]
    assert b"AGE-SECRET" not in repr(caught.value.problems).encode()
    with pytest.raises(InvalidInput, match="at least one"):
        encrypt_to(CANARY, [])

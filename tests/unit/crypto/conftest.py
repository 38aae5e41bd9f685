"""An instance with a keyring of two terms, as most tests of this directory need."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey


@pytest.fixture(scope="session")
def instance_id() -> UUID:
    return uuid4()


@pytest.fixture(scope="session")
def keyring(instance_id: UUID) -> Keyring:
    keyring, _, _ = Keyring.create(instance_id, RootKey.generate())
    return keyring.add_term()[0]

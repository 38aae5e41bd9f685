"""Age files and backups of both formats are read for ever."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Passphrase
from overseer.crypto.age_stream import AgeReader
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.storage.backup_archive import ArchiveReader

HERE = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name).read_text("utf-8"))
    return found


def test_age_files_open() -> None:
    v = load("age-v1.json")
    [identity] = Identity.parse_file(SecretValue(v["identity"]))
    assert str(identity.recipient) == v["recipient"]
    for name, key in (("for_recipient", identity), ("for_passphrase", Passphrase(SecretValue(v["passphrase"])))):
        assert AgeReader(io.BytesIO(bytes.fromhex(v[name])), [key]).read() == v["plaintext"].encode()


@pytest.mark.parametrize("version", [1, 2])
def test_a_backup_is_read_to_its_end(version: int) -> None:
    v = load(f"backup-v{version}.json")
    reader = ArchiveReader(io.BytesIO(bytes.fromhex(v["content"])), Identity.parse_file(SecretValue(v["identity"])))
    assert reader.head.instance_id == v["instance_id"]
    assert [one.name for one in reader.head.tables] == list(v["tables"])
    for name, content in v["tables"].items():
        assert b"".join(reader.parts(name)) == content.encode()
    manifest = reader.manifest()
    assert manifest.log_size == v["log_size"]
    for name, content in v["tables"].items():
        digest = hashlib.sha256(content.encode()).hexdigest()
        assert (manifest.tables[name].rows, manifest.tables[name].sha256) == (v["rows"][name], digest)
    assert reader.is_signed is (version == 2)
    if reader.is_signed:
        reader.verify(VerifierKey.parse(v["signer"]))

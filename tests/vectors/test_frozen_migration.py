"""Archives of migrations are read for ever."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_stream import AgeReader
from overseer.crypto.signed_notes import VerifierKey
from overseer.interchange.migration_archive import fingerprint, read_archive


def test_an_archive_is_read() -> None:
    v: dict[str, Any] = json.loads((Path(__file__).parent / "migration-v1.json").read_text("utf-8"))
    keys = Identity.parse_file(SecretValue(v["identity"]))
    found = read_archive(SecretValue(AgeReader(io.BytesIO(bytes.fromhex(v["content"])), keys).readall() or b""))
    assert (found.signer, fingerprint(found.signer)) == (VerifierKey.parse(v["signer"]), v["fingerprint"])
    assert found.head.instance == UUID(v["instance"])
    assert [[one.part, one.name] for one in found.parts] == v["parts"]
    values = {one.about.name: [version.value.reveal().hex() for version in one.versions] for one in found.secrets}
    assert values == v["secrets"]
    about, source = found.secrets[0].about, found.secrets[0].about.source
    assert source is not None
    assert (about.app, about.environment, about.node, about.owner, about.active) == ("shop", "prod", "n1", "ann", 1)
    assert (about.rotation, about.generator, about.rotator) == (
        {"interval_days": 30, "generate": "hex:32"},
        "hex:32",
        "postgresql",
    )
    assert (source.backend, source.ref, source.field, source.mode) == ("corp", "apps/shop/db", "password", "pull")
    assert about.expires_at == datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)

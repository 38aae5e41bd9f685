"""Signed manifests: one key, one kind, one instance, these files and no others."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import SignedManifest, instance_key, verified_manifest
from overseer.crypto.signed_notes import join_note, signature_line

INSTANCE = UUID("0192f0c1-0000-7000-8000-000000000001")
KEY, OTHER = SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
SIGNER = instance_key(INSTANCE, KEY.public)
FILES = {"head.json": b"{}\n", "manifest.json": b'{"tables": {}}\n'}
MANIFEST = SignedManifest.of("backup", INSTANCE, FILES)


def test_what_was_signed_is_read_back() -> None:
    note = MANIFEST.sign(KEY)
    found = verified_manifest(note, "backup", SIGNER)
    assert found == MANIFEST
    assert found.files["head.json"] == hashlib.sha256(FILES["head.json"]).hexdigest()


def test_people_check_the_files_with_sha256sum(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    lines = "\n".join(MANIFEST.sign(KEY).split("\n")[3:5]) + "\n"
    subprocess.run(["sha256sum", "--check", "--strict"], cwd=tmp_path, input=lines.encode(), check=True, capture_output=True)


@pytest.mark.parametrize(
    "note",
    [
        MANIFEST.sign(OTHER),
        MANIFEST.sign(KEY).replace("head.json", "hear.json"),
        dataclasses.replace(MANIFEST, instance_id=UUID(int=1)).sign(KEY),
        dataclasses.replace(MANIFEST, kind="move").sign(KEY),
        join_note(MANIFEST.text(), [signature_line(SIGNER.name, OTHER, MANIFEST.text())]),
    ],
    ids=["key", "file", "instance", "kind", "name"],
)
def test_another_key_file_instance_or_kind_is_refused(note: str) -> None:
    with pytest.raises(DecryptionFailed):
        verified_manifest(note, "backup", SIGNER)


def test_a_key_of_another_instance_or_use_is_not_the_signer() -> None:
    for key in (instance_key(UUID(int=1), KEY.public), dataclasses.replace(SIGNER, name=f"overseer/{INSTANCE}")):
        with pytest.raises(DecryptionFailed, match="not signed by"):
            verified_manifest(MANIFEST.sign(KEY), "backup", key)


def signed(text: str) -> str:
    return join_note(text, [signature_line(SIGNER.name, KEY, text)])


@pytest.mark.parametrize(
    "text",
    [
        "overseer/signed-manifest/v2\n" + MANIFEST.text().partition("\n")[2],
        MANIFEST.text() + "more\n",
        MANIFEST.text() + f"{'0' * 64}  head.json\n",
        MANIFEST.text().replace(f"instance {INSTANCE}", f"instance {{{INSTANCE}}}"),
        MANIFEST.text().replace("kind backup", "backup"),
        "\n".join(MANIFEST.text().split("\n")[:3]) + "\n",
        "overseer/signed-manifest/v1\n",
    ],
    ids=["label", "line", "twice", "spelling", "kind", "no files", "short"],
)
def test_another_text_is_no_manifest_whoever_signed_it(text: str) -> None:
    with pytest.raises(InvalidInput):
        verified_manifest(signed(text), "backup", SIGNER)


def test_what_could_not_be_read_back_is_not_signed() -> None:
    for made in (
        SignedManifest("Backup", INSTANCE, MANIFEST.files),
        SignedManifest("backup", INSTANCE, {}),
        SignedManifest("backup", INSTANCE, {"a b": "0" * 64}),
        SignedManifest("backup", INSTANCE, {"a": "0"}),
    ):
        with pytest.raises(ValueError, match="signed manifest"):
            made.sign(KEY)

"""What an instance says that an archive of its making holds: a signed note (:mod:`overseer.crypto.signed_notes`).

    overseer/signed-manifest/v1
    kind backup
    instance 0192f0c1-…
    b5bb9d80…944c  head.json
    7d865e95…bf6e  manifest.json

    — overseer/0192f0c1-…/server Az3grlgtzPICa5OS8npV…

Guarantees: whoever has the database and every public key, and not the root key, cannot make one, for the key is the instance's
Ed25519 key that nodes pin, kept in the keyring. A note of one kind or of one instance is none of another; the lines of digests
are those of ``sha256sum``, so people can check them. The first line keeps the notes apart from the log's (which another key
signs) and from bundles (whose bytes begin with a length).

What it will not do: say that the archive is the newest (a checkpoint of the audit log that was kept elsewhere does), or look at
the files: whoever verifies compares :attr:`SignedManifest.files` with what is there.

Evolution rule: ``tests/vectors/signed-manifest-v1.json`` must verify forever; another meaning of a line is another first line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_notes import VerifierKey, is_signed_by, join_note, signature_line, split_note

_LABEL: Final = "overseer/signed-manifest/v1"
_KIND: Final = re.compile(r"[a-z]{1,20}")
_FILE: Final = re.compile(r"([0-9a-f]{64})  ([!-~]{1,200})")
_NO_MANIFEST: Final = "the signature is none of an Overseer archive"


def instance_key(instance_id: UUID, public: bytes) -> VerifierKey:
    """The public key (32 bytes) under the name that recovery kits and signed manifests give it."""
    return VerifierKey(f"overseer/{instance_id}/server", public)


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """``kind`` is a word for what the archive is; ``files`` maps the name of each file to its SHA-256 in hexadecimal."""

    kind: str
    instance_id: UUID
    files: Mapping[str, str]

    @classmethod
    def of(cls, kind: str, instance_id: UUID, contents: Mapping[str, bytes]) -> SignedManifest:
        """The manifest of files with these contents."""
        return cls(kind, instance_id, {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})

    def text(self) -> str:
        """What is signed. ValueError for a kind or a name that would not be read back as it is."""
        lines = [f"{digest}  {name}" for name, digest in self.files.items()]
        if not _KIND.fullmatch(self.kind) or not lines or not all(_FILE.fullmatch(line) for line in lines):
            raise ValueError("a signed manifest has a word as its kind, and files with plain names and SHA-256 in hexadecimal")
        return "\n".join((_LABEL, f"kind {self.kind}", f"instance {self.instance_id}", *lines)) + "\n"

    def sign(self, key: SigningKey) -> str:
        """The note. ValueError as :meth:`text`."""
        signer, text = instance_key(self.instance_id, key.public), self.text()
        return join_note(text, [signature_line(signer.name, key, text)])

    @classmethod
    def parse(cls, note: str) -> SignedManifest:
        """What a note says, whoever signed it. Raises :class:`InvalidInput`."""
        lines = split_note(note)[0].split("\n")[:-1]
        files = [_FILE.fullmatch(line) for line in lines[3:]]
        try:
            label, kind, instance = lines[:3]
            found = cls(
                kind.removeprefix("kind "),
                UUID(instance.removeprefix("instance ")),
                {one[2]: one[1] for one in files if one is not None},
            )
            same = found.text() == "\n".join(lines) + "\n"  # one spelling, no name twice, no further line
        except ValueError:
            same = False
        if not same or label != _LABEL:
            raise InvalidInput(_NO_MANIFEST)
        return found


def verified_manifest(note: str, kind: str, key: VerifierKey) -> SignedManifest:
    """What the holder of ``key`` has signed as the manifest of an archive of this ``kind``.

    Raises :class:`InvalidInput` for a text that is no such note, :class:`DecryptionFailed` where it is not signed by this key, or
    is of another kind or instance than the key's.
    """
    found = SignedManifest.parse(note)
    if instance_key(found.instance_id, key.public) != key or not is_signed_by(note, key):
        raise DecryptionFailed(f"it is not signed by {key}: whoever made it did not hold that key. Nothing in it can be believed")
    if found.kind != kind:
        raise DecryptionFailed(f"what was signed is no {kind} but a {found.kind}")
    return found

"""A bundle between its message, its stored form and its address.

The stored form is MessagePack of the files and of how Compose is to be called. Evolution rule: ``format`` grows when a field
changes its meaning; a reader refuses a format that it does not know.
"""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

import msgspec

from overseer.compose.bundle import Bundle
from overseer.core.errors import DecryptionFailed, InvalidInput, Problem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyed_digests import bundle_address
from overseer.crypto.keys import HmacKey
from overseer.wire.deployments import BundleCreate, BundleFile

FORMAT = 1


class PackedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file; people's env_files hold plaintext, so it has no repr of its content."""

    path: str
    content: bytes

    def __repr__(self) -> str:
        return f"PackedFile({self.path!r})"


class PackedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """All that a deployment of the bundle needs but the values."""

    format: int
    files: list[PackedFile]
    compose_files: list[str]
    profiles: list[str]
    variables: dict[str, str]

    def __repr__(self) -> str:
        return f"PackedBundle(files={len(self.files)})"

    def bundle(self) -> Bundle:
        """As the Compose language reads it. Raises :class:`InvalidInput` and :class:`TooLarge`."""
        return Bundle({file.path: file.content for file in self.files}, tuple(self.compose_files))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(file.content) for file in self.files)

    def packed(self) -> SecretValue:
        """The bytes to encrypt."""
        return SecretValue(msgspec.msgpack.encode(self))

    def address(self, key: HmacKey, app_id: UUID) -> str:
        """The digest: HMAC-SHA-256 in hex over the app, every file and how Compose is called."""
        options = msgspec.msgpack.encode([self.compose_files, self.profiles, sorted(self.variables.items())])
        contents = {file.path: SecretValue(file.content) for file in self.files}
        # No file of a bundle can have this path, since it begins with '/'.
        return bundle_address(key, app_id, {**contents, "/options": SecretValue(options)}).hex()


def read_message(body: BundleCreate) -> PackedBundle:
    """The bundle of a request. Raises :class:`InvalidInput` with every problem, :class:`TooLarge`."""
    problems: list[Problem] = []
    files: dict[str, bytes] = {}
    for number, file in enumerate(body.files):
        place = f"body.files[{number}]"
        content = _content(file)
        if content is None:
            problems.append(Problem(place, "exactly one of content (text) and content_base64 (standard base64)", "bad_content"))
        elif file.path in files:
            problems.append(Problem(place, "each path stands once in a bundle", "double_path"))
        else:
            files[file.path] = content
    if problems:
        raise InvalidInput("the bundle's files are refused", problems=problems)
    packed = PackedBundle(
        format=FORMAT,
        files=[PackedFile(path=path, content=files[path]) for path in sorted(files)],
        compose_files=list(body.compose_files),
        profiles=list(body.profiles),
        variables=dict(body.variables),
    )
    bundle = packed.bundle()
    missing = [path for path in bundle.main_files() if path not in files]
    if missing or not bundle.main_files():
        rule = "the bundle lacks its Compose file: send compose.yaml, or name the files in compose_files"
        raise InvalidInput(rule, problems=[Problem("body.compose_files", rule, "no_compose_file")])
    return packed


def unpack(plaintext: SecretValue) -> PackedBundle:
    """What :meth:`PackedBundle.packed` gave. Raises :class:`DecryptionFailed` for a newer format."""
    packed = msgspec.msgpack.decode(plaintext.reveal(), type=PackedBundle)
    if packed.format != FORMAT:
        raise DecryptionFailed("the bundle is of a newer format; upgrade this server")
    return packed


def _content(file: BundleFile) -> bytes | None:
    if (file.content is None) == (file.content_base64 is None):
        return None
    if file.content is not None:
        return file.content.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(file.content_base64 or "", validate=True)
    except (ValueError, binascii.Error):
        return None

"""Files that move secrets between instances, as the command line makes and opens them.

Guarantees: a new file is private and replaces none; the passphrase of a file stays with this program, for the server encrypts to
a key of the moment and the file is encrypted anew here; what is opened is bounded, and is in memory alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from overseer.core.errors import AlreadyExists, InvalidInput, TooLarge
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Recipient, Unwrapper, Wrapper
from overseer.crypto.age_stream import AgeReader, AgeWriter
from overseer.interchange.migration_archive import MAX_BYTES


class Sealing:
    """For whom a file is: :attr:`recipients` are told to the server, :meth:`sealed` makes the file of what it sent."""

    def __init__(self, keys: Sequence[Wrapper]) -> None:
        self._keys = keys
        self._moment = None if all(isinstance(one, Recipient) for one in keys) else Identity.generate()
        self.recipients = [str(one) for one in keys] if self._moment is None else [str(self._moment.recipient)]

    def sealed(self, content: bytes) -> bytes:
        """The file to be written."""
        if self._moment is None:
            return content
        writer = AgeWriter(self._keys)
        return writer.update(opened(io.BytesIO(content), [self._moment]).reveal()) + writer.finish()


def opened(source: BinaryIO, keys: Sequence[Unwrapper]) -> SecretValue:
    """What is in an age file. Raises :class:`InvalidInput`, :class:`KeyProblem`, :class:`DecryptionFailed`, :class:`TooLarge`."""
    reader = AgeReader(source, keys)
    parts, size = [], 0
    while part := reader.read(1 << 16):
        size += len(part)
        if size > MAX_BYTES:
            raise TooLarge(f"the file holds more than {MAX_BYTES} bytes: 'overseer migrate export' makes none like it")
        parts.append(part)
    return SecretValue(b"".join(parts))


def open_file(path: str, keys: Sequence[Unwrapper]) -> SecretValue:
    """As :func:`opened`, for a path."""
    try:
        with open(path, "rb") as source:  # noqa: PTH123 - as it was typed
            return opened(source, keys)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or '').lower()}") from None


@contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """A new file that is this user's alone; it goes again where the block fails.

    Raises :class:`AlreadyExists`, :class:`InvalidInput`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExists(f"{path} exists: name another file") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {(error.strerror or '').lower()}") from None
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(descriptor)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise

"""Where the secrets of an import come from on this side: a file, standard input, or Vault. Values stay in memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.interchange import formats
from overseer.interchange.found import MAX_FILE_BYTES, Found

if TYPE_CHECKING:
    from overseer.interchange.sops_file import OpenKey


def read_bytes(path: str) -> bytes:
    """The content of a file, ``-`` for standard input. Raises :class:`InvalidInput`."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or os.strerror(5)).lower()}") from None
    if len(content) > MAX_FILE_BYTES:
        raise InvalidInput(f"a file to import has at most {MAX_FILE_BYTES} bytes")
    return content


def read_file(path: str, form: str | None, identity: str | None) -> tuple[list[Found], str]:
    """The secrets of a file and the format it was read as. Raises :class:`InvalidInput`, :class:`DecryptionFailed`."""
    name = "" if path == "-" else Path(path).name
    chosen = form or formats.guessed(name)
    if chosen is None:
        raise InvalidInput(f"the file's name does not tell its format; say --format: {', '.join(formats.IMPORT_FORMATS)}")
    data = read_bytes(path)
    if chosen != "sops":
        found = formats.READERS[chosen](data)
        if not found:
            raise InvalidInput(f"there is no value in {path} to import, read as {chosen}: another --format may read more")
        return found, chosen
    from overseer.interchange.sops_file import read_sops

    opener = _opener(identity, os.environ)
    return read_sops(data, formats.guessed_sops(name), opener, name=Path(name).stem or "data"), chosen


def _opener(identity: str | None, environ: Mapping[str, str]) -> OpenKey:
    """With the identities that SOPS itself would take: a file, or the environment."""
    from overseer.crypto.age_keys import Identity
    from overseer.crypto.age_messages import decrypt_with

    path = identity or environ.get("SOPS_AGE_KEY_FILE")
    if path:
        content = read_bytes(path)
    elif environ.get("SOPS_AGE_KEY"):
        content = environ["SOPS_AGE_KEY"].encode()
    else:
        raise InvalidInput("name the age identity with --identity FILE, $SOPS_AGE_KEY_FILE or $SOPS_AGE_KEY")
    identities = Identity.parse_file(SecretValue(content))
    return lambda sealed: decrypt_with(sealed, identities)


def read_renames(texts: Sequence[str]) -> dict[str, str]:
    """``FROM=TO`` of the command line: both are names, neither is a value. Raises :class:`InvalidInput`."""
    renames = {}
    for text in texts:
        found, equals, name = text.partition("=")
        if not equals or not found or not name:
            raise InvalidInput("--rename is FROM=TO, two names")
        renames[found] = name
    return renames

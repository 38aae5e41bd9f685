"""The undo of an adoption: the files as they were, encrypted, beside the project.

Guarantees: the key is a secret of the server, made by the same import, so whoever finds the file alone has nothing, and reading
the key is audited; the end of its time is authenticated, and the server erases the key then by itself, so the file is good for
nothing, whatever the clock of its reader says. After that end the undo is refused and the file removed. Files that somebody
changed since are not overwritten. Whoever can put a file into the project does not get more out of it: no other secret than an
undo's key is read by what it says, no other import than the one that made that key is taken back, and nothing outside of the
project is written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from overseer.compose.bundle import is_inside
from overseer.core.errors import Conflict, InvalidInput, Problem, Unavailable
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.aead import KEY_BYTES, Aead

if TYPE_CHECKING:
    from overseer.wire.imports import ImportView

UNDO_FILE: Final = ".overseer-adopt.json"
KEY_PREFIX: Final = "adopt-undo-"
_FORM: Final = "this is no undo file of 'overseer adopt'"


@dataclass(frozen=True, slots=True)
class Undo:
    """``key_name`` is the secret that opens it, at ``scope``; ``import_id`` the import that it belongs to."""

    import_id: str
    key_name: str
    scope: Scope[str]
    expires: datetime
    sealed: bytes

    def associated(self) -> bytes:
        """What is bound to the ciphertext: nobody gives it more time or another import."""
        parts = [self.import_id, self.key_name, self.scope.app, self.scope.environment, self.scope.node, self.expires.isoformat()]
        return json.dumps(["overseer adopt undo v1", *parts]).encode()


def new_key() -> SecretValue:
    """A key as text: 32 random bytes in base64."""
    return SecretValue(base64.b64encode(os.urandom(KEY_BYTES)))


def write_undo(directory: Path, undo: Undo, key: SecretValue, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """Seal the files ``before`` and write the undo beside the project."""
    content = {
        path: {"before": base64.b64encode(before[path]).decode(), "after": hashlib.sha256(data).hexdigest()}
        for path, data in after.items()
    }
    sealed = Aead(base64.b64decode(key.reveal())).seal(json.dumps(content).encode(), undo.associated())
    fields = {
        "version": 1,
        "import": undo.import_id,
        "key": undo.key_name,
        "app": undo.scope.app,
        "environment": undo.scope.environment,
        "node": undo.scope.node,
        "expires": undo.expires.isoformat(),
        "sealed": base64.b64encode(sealed).decode(),
    }
    replace_file(directory / UNDO_FILE, json.dumps(fields, indent=1).encode() + b"\n")


def read_undo(directory: Path) -> Undo:
    """Raises :class:`Unavailable` where there is none, :class:`InvalidInput` where it is none, both removed after its time."""
    path = directory / UNDO_FILE
    try:
        fields: Any = json.loads(path.read_bytes())
        scope: Scope[str] = Scope(fields["app"], fields["environment"], fields["node"])
        expires = datetime.fromisoformat(fields["expires"])
        undo = Undo(str(fields["import"]), str(fields["key"]), scope, expires, base64.b64decode(fields["sealed"], validate=True))
    except FileNotFoundError:
        raise Unavailable(f"there is no {UNDO_FILE} here: nothing was adopted, or its undo is over") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidInput(_FORM) from None
    if not undo.key_name.startswith(KEY_PREFIX):
        raise InvalidInput(_FORM)
    if undo.expires <= datetime.now(UTC):
        path.unlink()
        raise Unavailable("the time of this undo is over; its file was removed, and the server has erased its key")
    return undo


def check_import(found: ImportView, key_id: str) -> None:
    """Raises :class:`InvalidInput` where the import did not make the key: somebody wrote the file to take back another one."""
    if not any(one.secret_id == key_id and one.former_version is None for one in found.items):
        raise InvalidInput(_FORM)


def restore(directory: Path, undo: Undo, key: SecretValue) -> list[str]:
    """Write the files as they were; their paths. :class:`Conflict` with every file that was changed since: nothing is written."""
    try:
        opened = Aead(base64.b64decode(key.reveal())).open(undo.sealed, undo.associated())
    except ValueError:
        raise InvalidInput(_FORM) from None
    content: dict[str, dict[str, str]] = json.loads(opened)
    root = directory.resolve()
    if not all(is_inside(path) and (root / path).resolve().is_relative_to(root) for path in content):
        raise InvalidInput(_FORM)
    changed = [path for path, one in content.items() if _digest(directory / path) != one["after"]]
    if changed:
        problems = [Problem(path, "was changed since", "changed") for path in changed]
        raise Conflict("nothing was undone: take your changes out of these files, then undo again", problems=problems)
    for path, one in content.items():
        replace_file(directory / path, base64.b64decode(one["before"]))
    return sorted(content)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def replace_file(path: Path, data: bytes) -> None:
    """In one step, with the mode that it had (0600 where it is new)."""
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

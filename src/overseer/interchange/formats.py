"""The formats by name: what reads them, what writes them, and which one a file's name suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Final

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.interchange import dotenv_file, platforms, structured
from overseer.interchange.found import Found

Read = Callable[[bytes], list[Found]]
Write = Callable[[Sequence[tuple[str, SecretValue]]], bytes]

READERS: Final[dict[str, Read]] = {
    "compose": platforms.read_compose,
    "dotenv": dotenv_file.read,
    "infisical": platforms.read_infisical,
    "json": structured.read_json,
    "vault": platforms.read_vault,
    "yaml": structured.read_yaml,
}
WRITERS: Final[dict[str, Write]] = {"dotenv": dotenv_file.write, "json": structured.write_json, "yaml": structured.write_yaml}
#: SOPS needs a key, so it is no plain reader (``sops_file``).
IMPORT_FORMATS: Final = (*READERS, "sops")
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def guessed(name: str) -> str | None:
    """The format that a file's name suggests, or None."""
    path = PurePath(name)
    if path.name in _COMPOSE:
        return "compose"
    if path.name == ".env" or path.name.startswith(".env.") or path.suffix == ".env":
        return "dotenv"
    return {".json": "json", ".yaml": "yaml", ".yml": "yaml"}.get(path.suffix)


def guessed_sops(name: str) -> str:
    """The form of a SOPS file by its name; what is none of the others is binary."""
    path = PurePath(name.removesuffix(".sops").removesuffix(".enc"))
    found = guessed(path.name)
    return {"compose": "yaml", None: "binary"}.get(found, found or "binary")


def write(form: str, secrets: Sequence[tuple[str, SecretValue]]) -> bytes:
    """The text of a file. Raises :class:`InvalidInput` for an unknown format and for what a format cannot carry, by name."""
    if form not in WRITERS:
        raise InvalidInput(f"format is one of {', '.join(WRITERS)}")
    return WRITERS[form](secrets)

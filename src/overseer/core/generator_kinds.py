"""What can be generated: every kind with its size, its options and what it makes. The reference page and the command's help are
made from this table, so that they cannot say anything else than the parser does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Size:
    """``least`` to ``greatest`` in ``unit``, or exactly one of ``choices`` where there are any."""

    unit: str
    default: int
    least: int = 0
    greatest: int = 0
    choices: tuple[int, ...] = ()

    def allows(self, size: int) -> bool:
        return size in self.choices if self.choices else self.least <= size <= self.greatest

    def __str__(self) -> str:
        range_ = ", ".join(map(str, self.choices)) if self.choices else f"{self.least} to {self.greatest}"
        return f"{range_} {self.unit}, default {self.default}"


@dataclass(frozen=True, slots=True)
class Kind:
    """``options``: name → meaning. ``keys``: made by the cryptographic library, which may take seconds."""

    meaning: str
    size: Size | None = None
    options: tuple[tuple[str, str], ...] = ()
    keys: bool = False


_CLASS: Final = "at least so many (default 1), 0: allowed, none: not used"
_BYTES: Final = Size("bytes", 32, 16, 1024)
_RSA: Final = Size("bits", 3072, choices=(2048, 3072, 4096))

#: In the order in which people look for them.
KINDS: Final[dict[str, Kind]] = {
    "password": Kind(
        "characters that no shell, URL, env file or YAML reads as syntax: letters, digits and - . _ ~",
        Size("characters", 32, 12, 256),
        (
            ("lower", f"small letters: {_CLASS}"),
            ("upper", f"capital letters: {_CLASS}"),
            ("digits", f"digits: {_CLASS}"),
            ("symbols", f"- . _ ~: {_CLASS}"),
            ("exclude", "characters that must not occur, such as 0O1lI"),
        ),
    ),
    "passphrase": Kind(
        "words of the EFF's long list, 12.9 bits each",
        Size("words", 6, 5, 24),
        (("separator", "what stands between the words: - . _ or ~, default -"),),
    ),
    "token": Kind("random bytes as URL-safe base64 without padding", _BYTES),
    "hex": Kind("random bytes in hexadecimal", _BYTES),
    "base64": Kind("random bytes as base64 with padding", _BYTES),
    "uuid": Kind("a UUID, version 4 (RFC 9562)"),
    "ssh-ed25519": Kind(
        "JSON with private_key (OpenSSH) and public_key (one line)", None, (("comment", "the end of the public key"),), keys=True
    ),
    "ssh-rsa": Kind(
        "JSON with private_key (OpenSSH) and public_key (one line)", _RSA, (("comment", "the end of the public key"),), keys=True
    ),
    "ed25519": Kind("JSON with private_key (PKCS#8) and public_key, both PEM", keys=True),
    "ec": Kind(
        "JSON with private_key (PKCS#8) and public_key, both PEM; a NIST curve",
        Size("bits", 256, choices=(256, 384, 521)),
        keys=True,
    ),
    "rsa": Kind("JSON with private_key (PKCS#8) and public_key, both PEM", _RSA, keys=True),
    "x509": Kind(
        "JSON with certificate, private_key and ca, all PEM; signed by itself or by a CA that is another secret",
        None,
        (
            ("cn", "common name of the subject; needed"),
            ("san", "names and addresses that it is valid for, joined by +; default: the common name"),
            ("days", "how long it is valid, 1 to 3650; default 90"),
            ("key", "ec256, ec384, rsa2048, rsa3072 or rsa4096; default ec256"),
            ("ca", "id of the secret that holds the CA: one that was made with is_ca=yes; you need secret:use on it"),
            ("is_ca", "yes: a certificate that signs others; self-signed"),
        ),
        keys=True,
    ),
    "json": Kind('a template such as json:{"user": "app", "password": "{{password:32}}"}; other kinds stand in {{…}}'),
}

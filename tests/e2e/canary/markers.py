"""Canaries: values that carry a mark which nothing else in the world has, and all the forms in which it could turn up.

A text canary holds the run's text mark (16 random letters and digits) at both ends, so a value that was cut or split by lines is
found by the rest; between the marks stands what breaks naive quoting. A canary of bytes holds 16 random bytes, most of which are
no text. All canaries of a run share the two marks, so one search with few patterns finds every one of them; the number behind the
mark tells which it was.

What cannot be found: a value that was compressed, encrypted or hashed.
"""

from __future__ import annotations

import base64
import re
import secrets
import string
from dataclasses import dataclass, field

MARK_LENGTH = 16
AWKWARD = "'\"$HOME ${X:-y} $$ \\n \\ %41 <&> é☃🙂"


@dataclass(frozen=True)
class Marks:
    """The two marks of one run. Their repr does not show them, for pytest prints what it compares."""

    text: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Marks:
        """Random ones. The bytes of the raw mark begin sequences of UTF-8 and never continue one, so no two make a character."""
        alphabet = string.ascii_letters + string.digits
        text = "".join(secrets.choice(alphabet) for _ in range(MARK_LENGTH)).encode()
        return cls(text, bytes(0xC0 + secrets.randbelow(0x40) for _ in range(MARK_LENGTH)))


class Canaries:
    """Makes canaries and remembers what each was for."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.purposes: list[str] = []

    def text(self, purpose: str, *, lines: bool = True) -> str:
        """A value with quotes, dollars, a backslash, non-ASCII characters and, with ``lines``, a newline."""
        mark = f"{self.marks.text.decode()}{self._number(purpose)}"
        return f"{mark}{AWKWARD}{chr(10) if lines else ' '}{mark}"

    def word(self, purpose: str) -> str:
        """A value of letters and digits only, for places that take nothing else."""
        return f"{self.marks.text.decode()}{self._number(purpose)}"

    def data(self, purpose: str, *, nul: bool = True) -> bytes:
        """A value that is no UTF-8; with ``nul`` it holds NUL, too."""
        return self.marks.raw + f"{self._number(purpose)}".encode() + (b"\0\r\n" if nul else b"\r\n") + self.marks.raw

    def purpose_of(self, found: bytes) -> str:
        """What the canary was for whose digits begin ``found``; empty where they cannot be read."""
        digits = re.match(rb"[0-9]{4}", found)
        number = int(digits[0]) - 1000 if digits else -1
        return self.purposes[number] if 0 <= number < len(self.purposes) else ""

    def _number(self, purpose: str) -> str:
        """Four digits, never more: with a variable length one number could begin another."""
        if purpose not in self.purposes:
            self.purposes.append(purpose)
        return str(1000 + self.purposes.index(purpose))


def forms(secret: bytes) -> dict[str, bytes]:
    """Every form of ``secret`` by its name. A mark of letters and digits is itself in JSON, URL, shell, repr and XML."""
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    found |= _base64_forms(secret)
    text = secret.decode("latin-1")  # as text: each byte one character
    for coding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        found[coding] = text.encode(coding)
    found["percent"] = "".join(f"%{byte:02X}" for byte in secret).encode()
    found["percent, lower case"] = found["percent"].lower()
    found["JSON \\u"] = "".join(f"\\u{byte:04x}" for byte in secret).encode()
    found["JSON \\U"] = "".join(f"\\u{byte:04X}" for byte in secret).encode()
    found["\\x"] = "".join(f"\\x{byte:02x}" for byte in secret).encode()
    found["\\X"] = "".join(f"\\x{byte:02X}" for byte in secret).encode()
    found["octal"] = "".join(f"\\{byte:03o}" for byte in secret).encode()
    found["HTML"] = "".join(f"&#{byte};" for byte in secret).encode()
    found["hex with blanks"] = secret.hex(" ").encode()
    found["list of numbers"] = ", ".join(map(str, secret)).encode()
    if not secret.isascii():
        found["bytes taken for Latin-1"] = text.encode("utf-8")
        # Escapes for what is no printable ASCII, characters for the rest: Python's repr and PostgreSQL's bytea escape.
        found["repr"] = repr(secret)[2:-1].encode()
        found["surrogates"] = repr(secret.decode("utf-8", "surrogateescape"))[1:-1].encode()
        found["surrogates, upper case"] = re.sub(rb"\\udc(..)", lambda m: b"\\uDC" + m[1].upper(), found["surrogates"])
    return found


def _base64_forms(secret: bytes) -> dict[str, bytes]:
    """What is certain of ``secret`` in the base64 of any longer content: three alignments, two alphabets."""
    found = {}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret).rstrip(b"=")
        core = encoded[(0, 2, 3)[shift] : len(encoded) - (1 if (shift + len(secret)) % 3 else 0)]
        found[f"base64 +{shift}"] = core
        found[f"base64url +{shift}"] = core.replace(b"+", b"-").replace(b"/", b"_")
    return found

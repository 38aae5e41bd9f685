"""The written form of a root key: in a key file, in a systemd credential, on the paper of a recovery kit.

Two lines, ``overseer-root-key-v1`` and 64 hexadecimal digits. The head line tells people and scanners what the file is;
hexadecimal can be read aloud and typed.

Evolution rule: another key or encoding gets a head line with a new number; this one stays readable.
"""

from __future__ import annotations

import re
from typing import Final

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey

HEAD: Final = "overseer-root-key-v1"
#: A written key is 86 bytes; anything longer than this is refused. Readers read one byte more, so that they notice.
MAX_BYTES: Final = 256
_DIGITS: Final = re.compile(rb"[0-9a-fA-F]{64}")


def write_root_key(root_key: RootKey) -> SecretValue:
    """The two lines."""
    return SecretValue(f"{HEAD}\n{root_key.reveal().hex()}\n")


def read_root_key(content: SecretValue, place: str, *, head_required: bool = True) -> RootKey:
    """The key of ``content``; :class:`KeyProblem` naming ``place`` and the rule, never the content.

    Without ``head_required`` the digits alone will do, for a variable that holds one line.
    """
    lines = content.reveal().split() if len(content) <= MAX_BYTES else []
    if lines[:1] == [HEAD.encode("ascii")]:
        lines = lines[1:]
    elif head_required:
        lines = []
    if len(lines) != 1 or not _DIGITS.fullmatch(lines[0]):
        form = f"the line {HEAD!r} and a line of 64 hexadecimal digits" if head_required else "64 hexadecimal digits"
        raise KeyProblem(f"{place}: a root key is written as {form}, nothing else")
    return RootKey(bytes.fromhex(lines[0].decode("ascii")))

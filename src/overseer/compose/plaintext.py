"""Does a text look like a secret? By the name of its variable, by known forms of tokens, by its randomness.

A judgement, not a proof: placeholders such as ``changeme`` count (people deploy them), paths, addresses and switches do not.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|[_.-])(?:pass(?:wd|word|phrase|code)?|pwd|secret|token|credential|cred|salt|pepper|pin|"
    r"(?:api|access|auth|encryption|encrypt|private|secret|signing|master|session|cookie|license|account|app|jwt|hmac|storage)[_.-]?key|"
    r"secret[_.-]?key[_.-]?base|webhook[_.-]?secret|dsn|connection[_.-]?string)s?(?:$|[_.-](?!file\b|path\b|dir\b|name\b|id\b|url\b|"
    r"ttl\b|expir|length|policy|type|method|header|min|max|enabled|disabled|timeout|count|age|rounds|algorithm))|"
    r"[A-Za-z](?:password|passwd|secret|apikey|token)$"
)
_TOKENS: Final = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("a Stripe key", re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}\b")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a SendGrid key", re.compile(r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    ("a password in a URL", re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/:@'\"$]*:(?P<secret>[^\s/@'\"$]+)@[^\s'\"]")),
)
_HARMLESS: Final = re.compile(r"(?i)(?:true|false|yes|no|on|off|none|null|[0-9]{1,5}|auto|random|disabled|enabled)?")
_PATH_OR_HOST: Final = re.compile(r"(?:/|\./|~/|file:|https?://)[^@]*")
_RANDOM: Final = re.compile(r"[A-Za-z0-9+/=_-]{20,200}")


def is_secret_name(key: str) -> bool:
    """True where a variable of this name usually holds a secret; ``*_FILE`` names hold paths."""
    return _SECRET_NAME.search(key) is not None


def in_variable(key: str, value: str) -> str | None:
    """Why ``KEY=value`` looks like a plaintext secret, or ``None``. A value with a Compose expression in it is none."""
    if "$" in value or _HARMLESS.fullmatch(value):
        return None
    if is_secret_name(key) and not _PATH_OR_HOST.fullmatch(value):
        return f"{key} looks like a secret"
    if _RANDOM.fullmatch(value) and looks_random(value) and not value.startswith("/"):
        return f"the value of {key} looks random, as keys do"
    return None


def looks_random(value: str) -> bool:
    """True for texts with the entropy of a key: mixed kinds of characters and nearly no repetition."""
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    kinds = sum(any(test(character) for character in value) for test in (str.islower, str.isupper, str.isdigit))
    return kinds == 3 and entropy >= min(3.8, math.log2(len(value)) * 0.85)


def tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """Known forms of tokens in ``text``: (start, end, what it looks like)."""
    for name, pattern in _TOKENS:
        for found in pattern.finditer(text):
            span = found.span("secret") if "secret" in pattern.groupindex else found.span()
            yield (*span, f"this looks like {name}")

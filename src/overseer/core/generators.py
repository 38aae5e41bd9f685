"""Generators of new values, by a specification: ``password:32``, ``hex:32``, ``x509,cn=db.internal,days=30``, ``json:{…}``.

The text form is ``KIND[:SIZE][,OPTION=VALUE]…``; the kinds are in ``generator_kinds``. It is kept with the secret, so that a
rotation makes a value of the same kind.

Guarantees: randomness comes from the operating system (module ``secrets``); every acceptable password is equally likely,
because a draw that breaks a rule is thrown away whole and never patched; a generated text holds no character that a shell, a
URL, an env file or YAML reads as syntax. Rules that leave less than 64 bits are refused. What it will not do: derive a value from
anything, keep one, or make keys and certificates (``crypto/generated_keys.py`` does).
"""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from overseer.core.errors import InvalidInput, Problem
from overseer.core.generator_kinds import KINDS
from overseer.core.passphrase_words import passphrase
from overseer.core.password_alphabet import read_alphabet
from overseer.core.secret_value import SecretValue

DEFAULT_SPEC: Final = "password:32"
LEAST_BITS: Final = 64
MAX_SPEC: Final = 4_000
RULE: Final = (
    f"a generator is KIND[:SIZE][,OPTION=VALUE]…, such as password:32, hex:32 or passphrase:6; the kinds are {', '.join(KINDS)}, "
    "and 'overseer help generators' says what each takes"
)
_PLACEHOLDER: Final = re.compile(r"\{\{([^{}]*)\}\}")
_SEPARATORS: Final = frozenset("-._~")
_OPTION_TEXT: Final = re.compile(r"[ -+\--~]{1,2000}")  # printable ASCII without the comma


@dataclass(frozen=True, slots=True)
class Generator:
    """A checked specification. ``size`` is 0 where the kind has none; ``template`` is the JSON text of kind ``json``."""

    kind: str
    size: int
    options: tuple[tuple[str, str], ...] = ()
    template: str = ""

    @property
    def makes_keys(self) -> bool:
        """True where :meth:`make` cannot, but ``crypto/generated_keys.py`` can."""
        return KINDS[self.kind].keys

    @property
    def signer(self) -> uuid.UUID | None:
        """The secret that holds the CA which has to sign, None where there is none."""
        named = self.option("ca")
        return uuid.UUID(named) if named else None

    def option(self, name: str, default: str = "") -> str:
        return dict(self.options).get(name, default)

    def make(self) -> SecretValue:
        """A new value: ASCII text (JSON text for ``json``). Raises ValueError where it :attr:`makes_keys`."""
        if self.makes_keys:
            raise ValueError("keys are made elsewhere")
        if self.kind == "json":
            return SecretValue(json.dumps(_filled(json.loads(self.template)), separators=(", ", ": ")))
        return SecretValue(self._text())

    def _text(self) -> str:
        if self.kind == "password":
            return read_alphabet(dict(self.options)).draw(self.size)
        if self.kind == "passphrase":
            return passphrase(self.size, self.option("separator", "-"))
        if self.kind == "token":
            return secrets.token_urlsafe(self.size)
        if self.kind == "hex":
            return secrets.token_hex(self.size)
        if self.kind == "base64":
            return base64.b64encode(secrets.token_bytes(self.size)).decode()
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))  # RFC 9562, section 5.4: 122 random bits

    def __str__(self) -> str:
        if self.kind == "json":
            return f"json:{self.template}"
        size = f":{self.size}" if self.size else ""
        return self.kind + size + "".join(f",{name}={value}" for name, value in self.options)


def parse_spec(spec: str, place: str = "generate") -> Generator:
    """The generator that ``spec`` names; :class:`InvalidInput` with the rule, never the text."""
    if len(spec) > MAX_SPEC:
        _refuse(place)
    if spec.startswith("json:"):
        return make_generator("json", None, place, template=spec.removeprefix("json:"))
    head, *rest = spec.split(",")
    kind, colon, size = head.partition(":")
    # isdecimal alone would let through digits of other scripts, and int() underscores and blanks.
    if colon and not (size.isascii() and size.isdecimal() and len(size) <= 4):
        _refuse(place)
    pairs = [option.partition("=") for option in rest]
    if any(not equals for _, equals, _ in pairs) or len({name for name, _, _ in pairs}) < len(pairs):
        _refuse(place)
    return make_generator(kind, int(size) if colon else None, place, {name: value for name, _, value in pairs})


def make_generator(
    kind: str,
    size: int | None,
    place: str = "generate",
    options: Mapping[str, str] | None = None,
    template: Any = None,
) -> Generator:
    """The structured form of the same: ``size`` None is the default, ``template`` JSON, as text or as it is.

    Raises as :func:`parse_spec`.
    """
    known, given = KINDS.get(kind), dict(options or {})
    if known is None or (template is not None) != (kind == "json"):
        _refuse(place)
    if kind == "json":
        return Generator("json", 0, template=_template(template, place)) if size is None and not given else _refuse(place)
    if known.size is None and size is not None:
        _refuse(place)
    chosen = 0 if known.size is None else known.size.default if size is None else size
    if known.size is not None and not known.size.allows(chosen):
        _refuse(place, f"{kind} takes {known.size}")
    names = [name for name, _ in known.options]
    if not given.keys() <= set(names):
        _refuse(place, f"{kind} takes {', '.join(names)}" if names else f"{kind} takes no options")
    if not all(_OPTION_TEXT.fullmatch(value) for value in given.values()):
        _refuse(place, "an option's value is printable ASCII without commas")
    generator = Generator(kind, chosen, tuple((name, given[name]) for name in names if name in given))
    _check_options(generator, place)
    return generator


def generate(spec: str) -> SecretValue:
    """A new value by ``spec``, of a kind that needs no keys; :class:`InvalidInput` as :func:`parse_spec`."""
    return parse_spec(spec).make()


def entropy_bits(generator: Generator) -> float:
    """At most so many bits an attacker who knows the specification has to guess; infinity for keys."""
    if generator.kind == "password":
        return generator.size * math.log2(len(read_alphabet(dict(generator.options)).characters))
    if generator.kind == "passphrase":
        return generator.size * math.log2(7776)
    if generator.kind in ("token", "hex", "base64"):
        return generator.size * 8.0
    return 122.0 if generator.kind == "uuid" else math.inf


def _check_options(generator: Generator, place: str) -> None:
    if generator.kind == "password":
        alphabet = read_alphabet(dict(generator.options))
        if not alphabet.feasible(generator.size) or entropy_bits(generator) < LEAST_BITS:
            rule = "these rules leave too few passwords: allow more characters, ask for fewer of one kind, or take a longer one"
            _refuse(place, rule)
    if generator.kind == "passphrase" and generator.option("separator", "-") not in _SEPARATORS:
        _refuse(place, "the separator is one of - . _ ~")
    if generator.kind == "x509":
        _check_certificate(generator, place)


def _check_certificate(generator: Generator, place: str) -> None:
    days = generator.option("days", "90")
    if not generator.option("cn") or len(generator.option("cn")) > 64:
        _refuse(place, "x509 needs cn=NAME, of at most 64 characters")
    if not (days.isdecimal() and 1 <= int(days) <= 3650):
        _refuse(place, "days is 1 to 3650")
    if generator.option("key", "ec256") not in ("ec256", "ec384", "rsa2048", "rsa3072", "rsa4096"):
        _refuse(place, "key is ec256, ec384, rsa2048, rsa3072 or rsa4096")
    if generator.option("is_ca", "no") not in ("yes", "no") or (generator.option("is_ca") == "yes" and generator.option("ca")):
        _refuse(place, "is_ca is yes or no, and what is a CA signs itself")
    try:
        _ = generator.signer
    except ValueError:
        _refuse(place, "ca is the id of a secret")


def _template(given: Any, place: str) -> str:
    """The compact text of a template, checked: an object whose placeholders are specifications of text."""
    rule = 'a template is a JSON object of at most 4000 characters such as {"user": "app", "password": "{{password:32}}"}'
    try:
        content = json.loads(given) if isinstance(given, str) else given
        text = json.dumps(content)
    except (ValueError, TypeError, RecursionError):
        _refuse(place, rule)
    if not isinstance(content, dict) or len(text) > MAX_SPEC:
        _refuse(place, rule)
    specs = _PLACEHOLDER.findall(text)
    if not specs:
        _refuse(place, "a template has at least one placeholder, such as {{password:32}}")
    for spec in specs:
        inner = parse_spec(spec, place)
        if inner.makes_keys or inner.kind == "json":
            _refuse(place, "a placeholder makes text: a password, passphrase, token, hex, base64 or uuid")
    return text


def _filled(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _filled(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_filled(value) for value in content]
    if isinstance(content, str):
        return _PLACEHOLDER.sub(lambda found: parse_spec(found[1]).make().reveal().decode(), content)
    return content


def _refuse(place: str, rule: str = RULE) -> NoReturn:
    raise InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, "bad_generator")])

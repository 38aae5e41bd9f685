"""What a request says about a secret, checked against the published limits. An error names the rule and never holds a value.

Limits: a value has 0 to 1,048,576 bytes; 64 labels whose keys are names and whose values have at most 256 characters; a
description of 2,000, an owner of 200 characters. Text has no control characters and can be encoded as UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from overseer.core.errors import InvalidInput, Problem, TooLarge
from overseer.core.generators import Generator, make_generator, parse_spec
from overseer.core.identifiers import NAME_RULE, check_name, is_name
from overseer.core.rotation_policy import RotationPolicy
from overseer.core.secret_value import MAX_VALUE_BYTES, SecretValue
from overseer.server.services.moments import check_moment
from overseer.server.services.rotation_times import check_times
from overseer.wire.secrets import GeneratorSpec, SecretCreate, SecretRotate, SecretUpdate

MAX_DESCRIPTION: Final = 2_000
MAX_OWNER: Final = 200
MAX_LABELS: Final = 64
MAX_LABEL_VALUE: Final = 256
_ONE_OF: Final = "exactly one of 'value' (text), 'value_base64' (bytes) and 'generate' (a generator) is given"
CA_BY_HAND: Final = "a schedule does not sign with a CA for anybody: rotate by request, as somebody who may use the CA"
_TOO_LARGE: Final = f"a value has at most {MAX_VALUE_BYTES} bytes"


@dataclass(frozen=True, slots=True)
class NewValue:
    """A value to store; ``generator`` is the specification that made it, None where the caller gave the value."""

    value: SecretValue
    generator: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Checked metadata of a secret; ``rotation`` in its stored form."""

    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    rotation: dict[str, Any] | None


def gives_value(body: SecretCreate | SecretUpdate | SecretRotate) -> bool:
    """True where the caller brings a value of their own."""
    return body.value is not None or body.value_base64 is not None


def read_value(body: SecretCreate | SecretUpdate | SecretRotate) -> NewValue:
    """The one value of ``body``, generated where it says so. Raises :class:`InvalidInput`, :class:`TooLarge`."""
    value = optional_value(body)
    if value is None:
        raise refusal("body", _ONE_OF, "bad_value")
    return value


def optional_value(body: SecretCreate | SecretUpdate | SecretRotate) -> NewValue | None:
    """As :func:`read_value`; None where ``body`` says nothing about a value."""
    given = [field for field in (body.value, body.value_base64, body.generate) if field is not None]
    if not given:
        return None
    if len(given) > 1:
        raise refusal("body", _ONE_OF, "bad_value")
    if body.generate is not None:
        return generated(_generator(body.generate))
    return NewValue(_text(body.value) if body.value is not None else _bytes(body.value_base64 or ""), None)


def peeked_generator(body: SecretCreate | SecretUpdate | SecretRotate) -> Generator | None:
    """The generator that ``body`` names, None where it names none or a wrong one: that is refused later, inside the gate."""
    try:
        return None if body.generate is None or gives_value(body) else _generator(body.generate)
    except InvalidInput:
        return None


def generated(generator: Generator) -> NewValue:
    """A new value of ``generator``. Raises :class:`InvalidInput` where it makes keys (``value_making`` does)."""
    if generator.makes_keys:
        rule = "keys and certificates are made by a request of their own, not in a batch"
        raise refusal("body.generate", rule, "bad_generator")
    return NewValue(generator.make(), str(generator))


def read_metadata(body: SecretCreate) -> Metadata:
    """The metadata of a create, whose generator counts for its schedule. Raises :class:`InvalidInput`."""
    made_with = peeked_generator(body)
    fields = (body.description, body.labels, body.owner or "", body.expires_at, body.rotation)
    return check_metadata(*fields, None if made_with is None else str(made_with))


def check_metadata(
    description: str,
    labels: Mapping[str, str],
    owner: str,
    expires_at: datetime | None,
    rotation: Mapping[str, Any] | None,
    made_with: str | None = None,
) -> Metadata:
    """The same fields in their stored form; ``made_with`` as for :func:`read_policy`. Raises :class:`InvalidInput`."""
    check_text(description, "body.description", MAX_DESCRIPTION)
    check_text(owner, "body.owner", MAX_OWNER)
    expires_at = check_moment(expires_at, "body.expires_at")
    policy = None if rotation is None else read_policy(rotation, made_with).to_fields()
    return Metadata(description, check_labels(labels), owner, expires_at, policy)


def read_policy(fields: Mapping[str, Any], made_with: str | None = None) -> RotationPolicy:
    """A rotation policy, with times that come. ``made_with``: the generator that counts where the policy has none.

    Raises :class:`InvalidInput`, for a schedule that needs a CA as well.
    """
    policy = RotationPolicy.parse(fields, "body.rotation")
    problems: list[Problem] = []
    try:
        check_times(policy, "body.rotation")
    except InvalidInput as error:
        problems += error.problems
    generator = policy.generate or made_with
    if policy.scheduled and generator is not None and parse_spec(generator).signer is not None:
        problems.append(Problem("body.rotation.generate", CA_BY_HAND, "bad_rotation"))
    if problems:
        raise InvalidInput("; ".join(str(one) for one in problems), problems=problems)
    return policy


def check_text(text: str, place: str, limit: int) -> str:
    """``text`` itself: at most ``limit`` characters, none of them a control character or half of a surrogate pair."""
    if len(text) > limit or any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise refusal(place, f"text of at most {limit} characters without control characters", "bad_text")
    return text


def check_secret_name(name: str) -> str:
    """``name`` itself, or :class:`InvalidInput` with the rule."""
    return check_name(name, "body.name")


def refusal(place: str, rule: str, code: str) -> InvalidInput:
    """The error for one broken rule at one place."""
    return InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, code)])


def check_labels(labels: Mapping[str, str], what: str = "secret") -> dict[str, str]:
    """``labels`` as they are, or :class:`InvalidInput` with the rule that one breaks."""
    if len(labels) > MAX_LABELS:
        raise refusal("body.labels", f"a {what} has at most {MAX_LABELS} labels", "too_many_labels")
    for number, (key, value) in enumerate(labels.items()):
        if not is_name(key):
            raise refusal("body.labels", f"the key of a label is a name: {NAME_RULE}", "bad_name")
        check_text(value, f"body.labels[{number}]", MAX_LABEL_VALUE)  # by number: an error repeats nothing that was sent
    return dict(labels)


def _generator(spec: str | GeneratorSpec) -> Generator:
    if isinstance(spec, str):
        return parse_spec(spec, "body.generate")
    return make_generator(spec.type, spec.length, "body.generate", spec.options, spec.template)


def _text(text: str) -> SecretValue:
    try:
        value = SecretValue(text)
    except UnicodeEncodeError:
        raise refusal("body.value", "text that UTF-8 can hold; send other bytes as 'value_base64'", "bad_value") from None
    return _sized(value, "body.value")


def _bytes(text: str) -> SecretValue:
    if len(text) > (MAX_VALUE_BYTES + 2) // 3 * 4:
        raise TooLarge(f"body.value_base64: {_TOO_LARGE}", problems=[Problem("body.value_base64", _TOO_LARGE, "too_large")])
    try:
        # As bytes: b64decode of text that is not ASCII would quote nothing, but raise another error.
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        rule = "standard base64 with padding and without blanks or line breaks (RFC 4648, section 4)"
        raise refusal("body.value_base64", rule, "bad_base64") from None
    return _sized(SecretValue(decoded), "body.value_base64")


def _sized(value: SecretValue, place: str) -> SecretValue:
    if len(value) > MAX_VALUE_BYTES:
        raise TooLarge(f"{place}: {_TOO_LARGE}", problems=[Problem(place, _TOO_LARGE, "too_large")])
    return value

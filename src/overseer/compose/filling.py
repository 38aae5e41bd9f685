"""The placeholder way, second half: values in the place of words, in memory.

Guarantees: a value arrives exactly or is refused with its place; a default applies where the secret is missing or, as in
Compose's ``:-``, empty. Problems are gathered, never raised one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from overseer.compose.advice import Advice
from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference
from overseer.compose.model import Model, plain
from overseer.compose.placeholders import Placeholders, Slot
from overseer.core.errors import Problem
from overseer.core.secret_value import SecretValue

#: What one "KEY=VALUE" of an environment can hold, measured: the kernel's MAX_ARG_STRLEN less what the runtime needs.
MAX_ENVIRONMENT_BYTES: Final = 131_068
_TORN: Final = "a reference with a default was torn apart before its value was known; quote it so that it stays one word"


class Filler:
    """Puts values into texts that hold placeholders; gathers problems."""

    def __init__(self, placeholders: Placeholders, values: Mapping[Reference, SecretValue], advice: Advice | None = None) -> None:
        self.placeholders, self.values, self.advice = placeholders, values, advice or Advice()
        self.problems: list[Problem] = []

    def text(self, text: str) -> str:
        """``text`` of the model with its words replaced, values' dollars doubled. What cannot be text becomes a problem."""
        if self.placeholders.prefix not in text:
            return text
        return b"".join(self._parts(text, binary=False)).decode("utf-8")

    def content(self, template: str) -> bytes:
        """The bytes of a file: ``template`` with its words replaced, values byte for byte, Compose's ``$$`` un-doubled."""
        return b"".join(self._parts(template, binary=True))

    def value(self, slot: Slot) -> bytes | None:
        """The value of ``slot``, or ``None`` where its default applies or a problem was noted."""
        value = self.values.get(slot.reference)
        if value is not None and (len(value) or (not slot.closing and slot.message is None)):
            return value.reveal()
        if not slot.closing:
            rule = (
                self.advice.unavailable(slot.reference)
                if slot.message is None
                else f'secret "{slot.reference}" is required: {slot.message}'
            )
            self.problems.append(Problem(slot.place, rule.rstrip(": "), "secret_unavailable"))
        return None

    def _parts(self, text: str, *, binary: bool) -> list[bytes]:
        parts: list[bytes] = []
        cursor = 0
        slots = self.placeholders.slots
        defaults: set[str] = set()  # closing words of defaults that apply
        for found in self.placeholders.pattern.finditer(text):
            if found.start() < cursor:
                continue  # inside a default that does not apply
            parts.append(_literal(text[cursor : found.start()], binary=binary))
            cursor = found.end()
            slot = slots.get(found.group())
            if slot is None:
                if found.group() not in defaults:
                    self.problems.append(Problem("", _TORN, "torn_default"))
                continue
            value = self.value(slot)
            if slot.closing:
                closing = text.find(slot.closing, cursor)
                if closing < 0:
                    self.problems.append(Problem(slot.place, _TORN, "torn_default"))
                elif value is None:
                    defaults.add(slot.closing)
                else:
                    cursor = closing + len(slot.closing)
            if value is not None:
                parts.append(value if binary else self._checked(value, slot))
        parts.append(_literal(text[cursor:], binary=binary))
        return parts

    def _checked(self, value: bytes, slot: Slot) -> bytes:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            rule = f"the value of secret {slot.reference} is not UTF-8 text and cannot stand here; deliver it as a file"
            self.problems.append(Problem(slot.place, rule, "value_not_text"))
            return b""
        if "\0" in text:
            rule = f"the value of secret {slot.reference} holds a NUL byte and cannot stand here; deliver it as a file"
            self.problems.append(Problem(slot.place, rule, "value_has_nul"))
            return b""
        return dollars(text).encode("utf-8")


def _literal(text: str, *, binary: bool) -> bytes:
    return (plain(text) if binary else text).encode("utf-8")


def fill(model: Model, filler: Filler) -> Model:
    """A new model with every placeholder replaced; problems are noted in ``filler`` and make the result unusable.

    Extension fields and ``profiles`` are left out: Compose has applied them, and no value need stand there.
    """
    services = model.get("services") or {}
    filled = {key: _fill(value, filler) for key, value in model.items() if key != "services" and not key.startswith("x-")}
    filled["services"] = {
        name: _fill({key: value for key, value in service.items() if not key.startswith("x-") and key != "profiles"}, filler)
        for name, service in services.items()
    }
    _check_lengths(filled["services"], services, filler)
    return filled


def _fill(node: Any, filler: Filler) -> Any:
    if isinstance(node, str):
        return filler.text(node)
    if isinstance(node, dict):
        return {key: _fill(value, filler) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, filler) for value in node]
    return node


def _check_lengths(filled: Model, before: Model, filler: Filler) -> None:
    for name, service in filled.items():
        for key, value in (service.get("environment") or {}).items():
            if not isinstance(value, str) or len(value) * 4 + len(key) * 4 < MAX_ENVIRONMENT_BYTES:
                continue
            if len(f"{key}={plain(value)}".encode()) > MAX_ENVIRONMENT_BYTES:
                slots = filler.placeholders.in_text(before[name]["environment"][key])
                place = slots[0].place if slots else f"services.{name}.environment.{key}"
                rule = f"{key}=... is longer than the {MAX_ENVIRONMENT_BYTES} bytes a variable can hold; deliver it as a file"
                filler.problems.append(Problem(place, rule, "value_too_long"))

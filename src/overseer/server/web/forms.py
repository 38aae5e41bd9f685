"""Forms of HTML: ``application/x-www-form-urlencoded`` as browsers send it (WHATWG URL, section 5).

A form is small (the page's limit), has at most 200 fields, and is UTF-8. Its repr shows no field, for some are secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from overseer.core.errors import InvalidInput, Problem

MAX_FIELDS: Final = 200


class Form(Mapping[str, str]):
    """The fields by name; of a field that was sent several times ``all`` gives every value and ``[]`` the last."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._last = dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def __repr__(self) -> str:
        return f"Form({len(self)} fields)"

    def all(self, name: str) -> list[str]:
        """Every value that was sent under ``name``, in order."""
        return [value for key, value in self._pairs if key == name]

    def text(self, name: str) -> str:
        """The field without blanks around it; '' where it was not sent."""
        return self.get(name, "").strip()

    def optional(self, name: str) -> str | None:
        """The field without blanks around it; None where it is empty, which in a form means "not set"."""
        return self.text(name) or None

    def checked(self, name: str) -> bool:
        """Whether a checkbox was ticked."""
        return name in self._last

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number, or ``default`` where the field is empty. Raises :class:`InvalidInput`."""
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            rule = "is a whole number"
            raise InvalidInput(f"{name} {rule}", problems=[Problem(name, rule, "bad_number")])
        return int(text)

    def moment(self, name: str) -> datetime | None:
        """A date (``2027-01-31``) or local date and time of the browser's field, taken as UTC. Raises :class:`InvalidInput`."""
        text = self.text(name)
        if not text:
            return None
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            rule = "is a date such as 2027-01-31"
            raise InvalidInput(f"{name} {rule}", problems=[Problem(name, rule, "bad_date")]) from None


def read_form(body: bytes) -> Form:
    """The form in ``body``. Raises :class:`InvalidInput`."""
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, encoding="utf-8", errors="strict")
    except ValueError:  # UnicodeDecodeError is one; the text of either may quote the body
        raise InvalidInput(f"the form is not UTF-8, or has more than {MAX_FIELDS} fields") from None
    return Form(pairs)

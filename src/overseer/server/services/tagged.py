"""An answer together with the entity tag of what it shows (RFC 9110, section 8.8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from overseer.core.errors import InvalidInput, PreconditionFailed, Problem

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Tagged(Generic[View]):
    """``etag`` is strong and quoted."""

    view: View
    etag: str


def entity_tag(version: int, revision: int) -> str:
    """``"v3-r7"``: the newest version and the count of all changes of a secret."""
    return f'"v{version}-r{revision}"'


def revision_tag(revision: int) -> str:
    """``"r7"``: the count of all changes of something that has no versions."""
    return f'"r{revision}"'


def check_revision(if_match: str | None, revision: int, noun: str) -> None:
    """As :func:`check_if_match` for something without versions: ``*``, ``"r7"``, or a list of those."""
    if if_match is None:
        return
    if not {"*", revision_tag(revision)} & set(_tags(if_match, f'of this {noun} such as "r7"')):
        raise PreconditionFailed(f"the {noun} was changed meanwhile: read it again and repeat", current_version=revision)


def check_if_match(if_match: str | None, version: int, revision: int) -> None:
    """Raise :class:`PreconditionFailed` unless ``If-Match`` names the present state.

    Accepted: ``*``, a full tag ``"v3-r7"``, or ``"v3"`` for the newest version alone; a list of those (RFC 9110, section 13.1.1).
    """
    if if_match is None:
        return
    candidates = _tags(if_match, 'of this secret such as "v3-r7" or "v3"')
    if not {"*", entity_tag(version, revision), f'"v{version}"'} & set(candidates):
        raise PreconditionFailed(
            f"the secret was changed meanwhile; its current version is {version}: read it again and repeat",
            current_version=version,
        )


def _tags(if_match: str, example: str) -> list[str]:
    tags = [part.strip() for part in if_match.split(",")]
    if not all(tag == "*" or (len(tag) > 2 and tag[0] == tag[-1] == '"') for tag in tags):
        rule = f"If-Match is *, or entity tags {example}"
        raise InvalidInput(rule, problems=[Problem("header.If-Match", rule, "bad_if_match")])
    return tags

"""What can be generated, and what can be changed at its source."""

from __future__ import annotations

from typing import Final

from overseer.core.generator_kinds import KINDS
from overseer.core.rotation_policy import RULE
from overseer.server.rotators import selection
from scripts.reference_pages.markdown import Page, code, page, prose, table

_FORM: Final = (
    "The text form is `KIND[:SIZE][,OPTION=VALUE]…`: `password:24,symbols=none`, `x509,cn=db.internal,days=30`. The structured "
    'form of the API is `{"type": KIND, "length": SIZE, "options": {…}, "template": {…}}`. It is kept with the secret, so that a '
    "rotation makes the same kind again."
)
_VALUES: Final = (
    "A password has only letters, digits and `- . _ ~`, begins with a letter or a digit, and each that obeys its rules is as "
    "likely as any other; rules that leave less than 64 bits are refused. The words of a passphrase are the long list of the "
    "Electronic Frontier Foundation by Joseph Bonneau (CC BY 3.0 US): 12.9 bits a word."
)


def build() -> Page:
    """The page; a kind or an option without a meaning is a complaint."""
    complaints = [f"generator {name}: no meaning" for name, kind in KINDS.items() if not kind.meaning]
    options = [(name, option, text) for name, kind in KINDS.items() for option, text in kind.options]
    complaints += [f"generator {name}: {option} has no meaning" for name, option, text in options if not text]
    parts = [
        _FORM,
        table(
            ("Kind", "Size", "Makes"),
            [(code(name), str(kind.size or ""), prose(kind.meaning)) for name, kind in KINDS.items()],
        ),
        "## Options",
        table(
            ("Kind", "Option", "Meaning"),
            [(code(name), code(option), prose(text)) for name, option, text in options],
        ),
        _VALUES,
        "## Policies",
        prose(RULE[0].upper() + RULE[1:] + "."),
        "## Rotators",
        table(("Kind", "What it changes"), [(code(name), prose(text)) for name, (_, _, text) in selection.KINDS.items()]),
        table(("Field", "Meaning"), [(code(name), prose(text)) for name, text in selection.FIELDS.items()]),
    ]
    return page("Generators and rotators", parts, complaints)

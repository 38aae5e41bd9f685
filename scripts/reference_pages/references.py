"""The grammar of references and where they may stand."""

from __future__ import annotations

from typing import Final

from overseer.compose import reading_limits as limits
from overseer.compose.bundle import MAX_BUNDLE_BYTES, MAX_FILES, MAX_PATH, SECRETS_ROOT
from overseer.compose.grammar import MAX_NESTING, MAX_REFERENCE
from overseer.compose.positions import EXPOSED, METADATA, NEVER, PERSISTING, Kind
from overseer.core.generators import DEFAULT_SPEC, RULE
from overseer.core.identifiers import NAME_RULE
from overseer.core.secret_value import MAX_VALUE_BYTES
from scripts.reference_pages.markdown import Page, code, page, prose, table

_FORMS: Final = (
    ("${SECRET:name}", "the active version"),
    ("${SECRET:name@3}", "version 3, whatever is active"),
    ("${SECRET:name#field}", "a field of a value that is a JSON object; dots descend: `#db.password`"),
    ("${SECRET:name:-default}", "`default` where the secret does not exist or is empty; never where it is refused"),
    ("${SECRET:name:?message}", "an error with that message where it does not exist or is empty, as in Compose"),
    ("${SECRET:name@3#field:-default}", "all of it, in this order"),
    ("$${SECRET:name}", "the literal text `${SECRET:name}`, as `$$` is in Compose"),
    ("${SECRET}, ${SECRET:-x}, $SECRET", "Compose's own variable called SECRET: left alone"),
)
_KINDS: Final = {
    Kind.ARGUMENT: "`command`, `entrypoint`, hooks",
    Kind.BUILD: "anything below `build`",
    Kind.CONTAINER_NAME: "`container_name`",
    Kind.CONTENT: "`configs.*.content`",
    Kind.ENVIRONMENT: "`environment`",
    Kind.ENV_FILE: "a line of an `env_file`, or of the project's `.env`",
    Kind.EXTENSION: "below an `x-` key",
    Kind.HEALTHCHECK: "`healthcheck`",
    Kind.IMAGE: "`image`",
    Kind.KEY: "a key of a mapping",
    Kind.LABEL: "`labels`, `annotations`",
    Kind.OPTION: "driver, logging and system options",
    Kind.STRUCTURE: "names, paths, modes",
    Kind.TEXT: "other text of a service, such as `hostname` or `user`",
    Kind.TYPED: "numbers, switches, durations, ports",
}
_NAMES: Final = (
    f"{prose(NAME_RULE[0].upper() + NAME_RULE[1:])}. A reference has at most {MAX_REFERENCE:,} characters with its default; "
    f"expressions nest at most {MAX_NESTING} deep. A value is text to Compose, whatever it holds: it is never interpolated again."
)
_EXTERNAL: Final = (
    "A top-level secret with `external: true` that a service lists under `secrets:`. `name:` gives the name in Overseer where "
    "it differs from the key. The file appears at `/run/secrets/KEY`, or at `target`."
)
_FILES: Final = (
    f"A bind whose source lies right below `{SECRETS_ROOT}` (the node's `OVERSEER_SECRETS_ROOT`): the last part of the path "
    "names the secret. Nothing has to exist there; the agent puts a file in memory in its place."
)


def build() -> Page:
    """The page; a kind of place without a description is a complaint."""
    complaints = [f"kind of place {kind.value}: no description in {__name__}" for kind in Kind if kind not in _KINDS]
    parts = [
        "## In a value",
        table(("Text", "Meaning"), [(code(text), meaning) for text, meaning in _FORMS]),
        _NAMES,
        "## As a Docker secret",
        _EXTERNAL,
        "## As a file",
        _FILES,
        "## Where a reference may stand",
        table(
            ("Place", "In a deployment", "Stays on the node's disk"),
            [(_KINDS.get(kind, ""), _verdict(kind), "yes" if kind in PERSISTING else "") for kind in Kind],
        ),
        "## Limits",
        table(
            ("What", "Limit"),
            [
                ("a value", f"{MAX_VALUE_BYTES:,} bytes"),
                ("a bundle", f"{MAX_BUNDLE_BYTES:,} bytes in {MAX_FILES} files"),
                ("a path in a bundle", f"{MAX_PATH:,} characters"),
                ("different references of a bundle", f"{limits.DIFFERENT.most:,}"),
                ("uses of references in a bundle", f"{limits.USES.most:,}"),
                ("uses of references times the services that get them", f"{limits.DELIVERIES.most:,}"),
                ("`env_file` and `label_file` of a bundle", f"{limits.ENV_BYTES.most:,} bytes, {limits.FILE_USES.most:,} uses"),
                ("places from which Compose files are read", f"{limits.READS.most:,}"),
                ("steps from service to service by `extends`", f"{limits.EXTENSIONS.most:,}"),
            ],
        ),
        "## Generators",
        f"{prose(RULE[0].upper() + RULE[1:])}. The default is `{DEFAULT_SPEC}`.",
    ]
    return page("References in Compose files", parts, complaints)


def _verdict(kind: Kind) -> str:
    if kind in NEVER:
        return "refused"
    if kind in METADATA | EXPOSED:
        return "refused; allowed by `--allow-persisting`"
    return "welcome"

"""``overseer audit checkpoint``, ``verify``, ``integrity`` and ``rotate-key``: the sealed log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from overseer.cli.options import json_option, pass_client, yes_option
from overseer.cli.output import moment, paint, print_bytes, print_fields, print_json, print_line, printable, say
from overseer.core.errors import ConfigurationProblem, InvalidInput

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.crypto.log_report import LogReport, Trust
    from overseer.crypto.log_verification import Finding

#: The exit code of a log that does not verify.
DIFFERS: Final = 1
_SHOWN: Final = 20
_FILE = click.Path(path_type=Path, dir_okay=False)
_MEANING: Final = {
    "changed": "changed after it was sealed",
    "removed": "removed",
    "inserted": "put in, was never sealed here",
    "moved": "moved to another place",
    "truncated": "cut off",
    "rewritten": "not what was signed",
    "unsigned": "bad checkpoint",
    "impossible": "cannot exist",
}


@click.command("checkpoint")
@click.option("--file", "file", type=_FILE, metavar="PATH", help="Write the signed note to a file instead (replaced at once).")
@json_option
@pass_client
def checkpoint(client: Client, file: Path | None, as_json: bool) -> None:
    """Print the newest signed checkpoint. Kept elsewhere, it proves later that nothing was cut off or rewritten."""
    latest = client.audit_log.latest()
    if file is not None:
        _replace(file, latest.note.encode())
        say(f"{latest.size} rows, signed {moment(latest.at)}: {file}")
    elif as_json:
        print_json(latest)
    else:
        print_bytes(latest.note.encode())


@click.command("key")
@json_option
@pass_client
def key(client: Client, as_json: bool) -> None:
    """Print the public key of the log. Keep it elsewhere and give it to 'audit verify --key'."""
    keys = client.audit_log.keys()
    if as_json:
        print_json(keys)
        return
    print_line(keys.keys[-1].verifier_key if keys.keys else "")


@click.command("rotate-key")
@yes_option
@json_option
@pass_client
def rotate_key(client: Client, yes: bool, as_json: bool) -> None:
    """Sign checkpoints with a new key from now on; whoever has the old one can follow to the new one."""
    if not yes:
        from overseer.cli.terminal import confirm

        confirm("Sign the audit log with a new key?")
    made = client.audit_log.rotate_key()
    if as_json:
        print_json(made)
        return
    say(f"key {made.term} signs what grows beyond {made.since_size} rows")
    print_line(made.verifier_key)


@click.command("integrity")
@json_option
@pass_client
def integrity(client: Client, as_json: bool) -> None:
    """Show how the log stands. Ends with 1 where it is broken or behind."""
    view = client.audit_log.integrity()
    if as_json:
        print_json(view)
    else:
        head, check = view.checkpoint, view.self_check
        print_fields(
            [
                ("state", view.state),
                ("sealed", f"{head.size} rows, signed {moment(head.at)}" if head else ""),
                ("unsealed", f"{view.unsealed_rows} rows, the oldest for {view.unsealed_seconds:.1f} s"),
                *(("waits for", one) for one in view.waits_for),
                ("self-check", f"{check.checked_size} rows, {moment(check.finished_at)}" if check else ""),
                *(("problem", one) for one in (check.problems if check else [])),
            ]
        )
    if view.state in ("broken", "behind"):
        click.get_current_context().exit(DIFFERS)


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option(
    "--key", "key_text", metavar="KEY|PATH", help="The log's public key, as 'audit key' printed it, or a file that holds it."
)
@click.option(
    "--checkpoint",
    "kept",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    metavar="PATH",
    help="A checkpoint that you kept elsewhere; may be given several times.",
)
@json_option
def verify(file: Path | None, key_text: str | None, kept: tuple[Path, ...], as_json: bool) -> None:
    """Verify an exported log, or the database of OVERSEER_DATABASE_URL: needs no server, no network, no key.

    Finds rows that were changed, removed, put in, moved or cut off, and says which. Ends with 1 where it finds any.
    """
    trust = _trust(key_text, kept)
    report = _verify_file(file, trust) if file is not None else _verify_database(trust)
    if as_json:
        print_json(_as_json(report))
    else:
        _tell(report)
    if not report.verified:
        click.get_current_context().exit(DIFFERS)


def export_jsonl(client: Client, target: BinaryIO, *, readable: bool = False) -> int:
    """Write every sealed row, to be verified elsewhere; how many they are."""
    from overseer.cli.audit_export import write_end, write_head, write_part

    keys = client.audit_log.keys()
    target.write(write_head(keys))
    count = 0
    for part in client.audit_log.records(first=keys.first):
        target.write(write_part(part, readable=readable))
        count += len(part.records)
    target.write(write_end(count))
    return count


def _verify_file(file: Path, trust: Trust) -> LogReport:
    from overseer.cli.audit_export import verify_file

    return verify_file(file, trust)


def _verify_database(trust: Trust) -> LogReport:
    try:
        from overseer.cli.server_setup import verify_log
        from overseer.server.settings import load_settings
    except ModuleNotFoundError as missing:
        raise ConfigurationProblem(
            f"the server's packages are not installed ({missing.name}): install overseer[server], or verify an exported file"
        ) from None

    return verify_log(load_settings(), trust)


def _trust(key_text: str | None, kept: tuple[Path, ...]) -> Trust:
    from overseer.crypto.log_report import Trust
    from overseer.crypto.signed_notes import VerifierKey

    if key_text is not None and "+" not in key_text:
        key_text = _text_of(Path(key_text))
    try:
        key = VerifierKey.parse(key_text) if key_text is not None else None
    except InvalidInput as error:
        raise InvalidInput(f"--key: {error.message}; 'overseer audit key' prints it as one line") from None
    return Trust(key, tuple(_text_of(path) for path in kept))


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{path} cannot be read as text") from None


def _tell(report: LogReport) -> None:
    newest = report.newest
    removed = f" (rows before {report.first} were removed on purpose)" if report.first else ""
    print_fields(
        [
            ("log", report.origin),
            ("rows", f"{report.sealed} sealed, {report.unsealed} not sealed yet{removed}"),
            (
                "checkpoints",
                f"{report.checkpoints}" + (f", the newest over {newest.size} rows, {moment(newest.at)}" if newest else ""),
            ),
        ]
    )
    for warning in report.warnings:
        say(f"{paint('note:', 'yellow', sys.stderr)} {printable(warning)}")
    for one in report.findings[:_SHOWN]:
        print_line(f"{paint(one.kind.upper(), 'red', sys.stdout)}  {printable(_sentence(one, report.keys))}")
    if len(report.findings) > _SHOWN:
        print_line(f"… and {len(report.findings) - _SHOWN} more")
    good = paint("verified", "green", sys.stdout)
    print_line(good if report.verified else paint("the log does not verify", "red", sys.stdout))


def _sentence(one: Finding, keys: dict[int, str]) -> str:
    place = f"row {one.index}" if one.count == 1 else f"rows {one.index} to {one.index + one.count - 1}"
    ids = [] if one.found is None else [keys[n] for n in dict.fromkeys((one.found, one.found + one.count - 1)) if n in keys]
    named = f" (id {' to '.join(ids)})" if ids else ""
    before = "before " if one.kind == "inserted" else ""
    detail = f": {one.detail}" if one.detail else ""
    return f"{before}{place}{named}: {_MEANING.get(one.kind, one.kind)}{detail}"


def _as_json(report: LogReport) -> dict[str, Any]:
    return {
        "verified": report.verified,
        "origin": report.origin,
        "first": report.first,
        "sealed": report.sealed,
        "unsealed": report.unsealed,
        "checkpoints": report.checkpoints,
        "newest": report.newest and {"size": report.newest.size, "seq": report.newest.seq, "at": report.newest.at},
        "warnings": report.warnings,
        "findings": [
            {
                "kind": one.kind,
                "index": one.index,
                "count": one.count,
                "detail": one.detail,
                "row": report.keys.get(-1 if one.found is None else one.found),
            }
            for one in report.findings
        ],
    }


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that there is never half of it."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from None


COMMANDS: Final = (checkpoint, integrity, key, rotate_key, verify)

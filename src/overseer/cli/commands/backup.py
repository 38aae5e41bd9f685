"""``overseer backup …``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from overseer.cli.commands.server import load_server_settings
from overseer.cli.options import DURATION, Connection, json_option, pass_client
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.core.errors import NotReady, Unavailable

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.server.services.backup_restoring import Opened
    from overseer.wire.backups import BackupView

SCRATCH = "OVERSEER_SCRATCH_DATABASE_URL"
identity_option = click.option(
    "--identity", "identities", multiple=True, metavar="FILE", help="File with age identities that may open it; repeatable."
)
passphrase_option = click.option("--passphrase-file", metavar="FILE", help="File that holds the backup's passphrase.")
checkpoint_option = click.option(
    "--checkpoint", metavar="FILE", help="Signed checkpoint of the audit log that was kept elsewhere: tells an older backup."
)
signed_by_option = click.option(
    "--signed-by", metavar="KEY", help="The instance's key as the recovery kit has it, or a file with it: no other will do."
)
unsigned_option = click.option("--unsigned", is_flag=True, help="Take one that is not signed; you know where it comes from.")
stdin_option = click.option("--stdin", is_flag=True, help="Read the seal's passphrase, or its shares one a line, from stdin.")


@click.group()
def backup() -> None:
    """Make, list and verify backups while everything runs.

    'overseer restore' restores one.
    """


@backup.command()
@click.option("--to", metavar="PLACE", help="A new file, a directory or s3://BUCKET/PREFIX; on the server's machine.")
@click.option("--target", metavar="NAME", help="Ask the server instead: to the place [backup.NAME] of its configuration.")
@click.option("--recipient", "recipients", multiple=True, metavar="KEY", help="age public key that can open it; repeatable.")
@passphrase_option
@click.option("--no-wait", is_flag=True, help="With --target: ask for it and return.")
@click.option("--timeout", type=DURATION, default="1h", show_default=True, metavar="TIME", help="With --target: wait no longer.")
@click.option("--unsigned", is_flag=True, help="With --to: leave the signature out, and the seal closed.")
@stdin_option
@json_option
@click.pass_obj
def create(
    connection: Connection,
    to: str | None,
    target: str | None,
    recipients: tuple[str, ...],
    passphrase_file: str | None,
    no_wait: bool,
    timeout: int,
    unsigned: bool,
    stdin: bool,
    as_json: bool,
) -> None:
    """Make a backup while everything runs: one consistent snapshot, encrypted as an age file.

    With --to on the server's machine, as the server's user, with the seal of its settings, for it is signed with the instance's
    key; without --recipient it asks for a passphrase. With --target the server makes it, needs backup:create. The root key is
    never in a backup: keep it elsewhere, or the backup is useless.
    """
    if (to is None) == (target is None):
        raise click.UsageError("give --to PLACE, or --target NAME")
    if target is not None:
        if recipients or passphrase_file or unsigned or stdin:
            raise click.UsageError("--target has its recipients or passphrase in the server's configuration")
        _ask(connection.client(), target, no_wait, timeout, as_json)
        return
    settings = load_server_settings()
    from overseer.cli.backup_keys import sealing_keys
    from overseer.cli.backup_setup import make_here
    from overseer.cli.seal_material import SealMaterial
    from overseer.server.services.bootstrap import SealSetting

    keys = sealing_keys(recipients, passphrase_file)
    given = None if unsigned else SealMaterial(stdin).opening(settings.seal.partition(":")[0])
    where, made, signer = make_here(settings, str(to), keys, None if unsigned else SealSetting(settings.seal, given))
    if as_json:
        shown = None if signer is None else str(signer)
        print_json({"file": where, "size": made.size, "rows": made.rows, "log_size": made.log_size, "signed_by": shown})
        return
    print_line(where)
    if signer is not None:
        say(f"signed by {signer}")
    say(f"{made.rows} rows, {made.size} bytes. Without this instance's root key nobody can open a value in it: keep that apart")


@backup.command("list")
@json_option
@pass_client
def list_(client: Client, as_json: bool) -> None:
    """List backups that were made or failed, newest first. Needs backup:list."""
    found = list(client.backups.list())
    if as_json:
        print_json(found)
        return
    print_table(("WHEN", "TARGET", "STATE", "ROWS", "BYTES", "FILE"), [_row(one) for one in found])


@backup.command()
@click.argument("file", metavar="FILE")
@identity_option
@passphrase_option
@checkpoint_option
@click.option(
    "--database-url", envvar=SCRATCH, metavar="URL", help="An empty scratch database; without it an embedded one for the moment."
)
@signed_by_option
@unsigned_option
@stdin_option
@json_option
def verify(
    file: str,
    identities: tuple[str, ...],
    passphrase_file: str | None,
    checkpoint: str | None,
    database_url: str | None,
    signed_by: str | None,
    unsigned: bool,
    stdin: bool,
    as_json: bool,
) -> None:
    """Restore a backup into a scratch database, verify its signature, open every value, verify its audit log; nothing stays.

    FILE is a path or s3://BUCKET/KEY. It takes the seal from the server's settings (OVERSEER_SEAL). Ends with 1 where the audit
    log in it does not verify.
    """
    settings = load_server_settings()
    refuse_password(database_url)
    from overseer.cli.backup_keys import expected_of, opening_keys, require_file
    from overseer.cli.backup_setup import verify_here
    from overseer.cli.seal_material import SealMaterial
    from overseer.server.storage.backup_places import open_backup

    require_file(file)
    expected = expected_of(checkpoint, signed_by, unsigned)
    keys = opening_keys(identities, passphrase_file)
    given = SealMaterial(stdin).opening(settings.seal.partition(":")[0])
    with open_backup(file) as source:
        opened = verify_here(settings, source, keys, given, expected, database_url)
    if as_json:
        print_json(summary(opened))
    else:
        print_opened(opened, compared=checkpoint is not None)
    if opened.log is not None and not opened.log.verified:
        click.get_current_context().exit(1)


@backup.command()
@click.option("--take-over", is_flag=True, help="Retention may remove what the former server made: it is gone for good.")
@json_option
def resume(take_over: bool, as_json: bool) -> None:
    """Follow the schedules again, on a restored or copied instance that takes the former one's place.

    On the server's machine, as the server's user. Until then a restored instance makes a backup only when it is asked, and its
    retention removes only what it made itself: the former server may still run, and a drill must not take its backups away.
    """
    settings = load_server_settings()
    from overseer.cli.backup_setup import resume_here

    count = resume_here(settings, take_over=take_over)
    if as_json:
        print_json({"resumed": True, "taken_over": count})
        return
    say("schedules of backups are followed" + (f"; retention counts {count} earlier backup(s)" if take_over else ""))


def refuse_password(url: str | None) -> None:
    """A password in an argument can be seen by everybody on the machine; in the variable it is fine."""
    context = click.get_current_context()
    given = context.get_parameter_source("database_url")
    if url is not None and given is click.core.ParameterSource.COMMANDLINE and urlsplit(url).password:
        raise click.UsageError(f"a URL with a password goes into the variable {SCRATCH}, not into an argument")


def summary(opened: Opened) -> dict[str, Any]:
    """For programs."""
    log = opened.log
    return {
        "instance_id": opened.head.instance_id,
        "created_at": opened.head.created_at,
        "release": opened.head.release,
        "rows": opened.rows,
        "values_opened": opened.values,
        "log_size": opened.log_size,
        "log_verified": None if log is None else log.verified,
        "older_by": opened.older_by,
        "signed_by": None if opened.signer is None else str(opened.signer),
    }


def print_opened(opened: Opened, *, compared: bool) -> None:
    """For people. ``compared``: with a checkpoint that was kept elsewhere."""
    log = opened.log
    text = "nothing of it was sealed yet" if log is None else f"{log.sealed} sealed rows verify"
    if log is not None and not log.verified:
        text = f"{len(log.findings)} finding(s): {log.findings[0].kind} at row {log.findings[0].index}"
    fields = [
        ("instance", opened.head.instance_id),
        ("made", f"{moment(datetime.fromisoformat(opened.head.created_at))}, by Overseer {opened.head.release}"),
        ("signed by", "nobody: whoever copied the database can have made it" if opened.signer is None else str(opened.signer)),
        ("rows", f"{opened.rows}, as the manifest says"),
        ("values", f"{opened.values} opened with the seal"),
        ("audit log", text),
    ]
    if opened.older_by:
        fields.append(("older", f"it lacks {opened.older_by} audit rows that the checkpoint has counted"))
    elif compared:
        fields.append(("checkpoint", "every row that it has counted is there"))
    print_fields(fields)


def _ask(client: Client, target: str, no_wait: bool, timeout: int, as_json: bool) -> None:
    try:
        view = client.backups.create(target)
    except Unavailable:
        raise Unavailable(f"the server's configuration has no [backup.{target}], or you may not know that it does") from None
    if not no_wait:
        view = client.backups.wait(view.id, timeout)
    if as_json:
        print_json(view)
    if view.state == "failed":
        raise NotReady(f"the backup failed, and nothing of it was kept ({view.error})")
    if not as_json:
        print_line(view.file if view.state == "succeeded" else view.id)


def _row(one: BackupView) -> tuple[str, ...]:
    state = "removed" if one.removed_at else f"failed: {one.error.partition(':')[0]}" if one.state == "failed" else one.state
    count = ("" if one.rows is None else str(one.rows), "" if one.size is None else str(one.size))
    return (moment(one.finished_at or one.asked_at), one.target or "(command line)", state, *count, one.file)

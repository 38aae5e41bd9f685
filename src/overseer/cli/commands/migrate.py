"""``overseer migrate …``: secrets with their history from one instance to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from overseer.cli.commands.backup import identity_option
from overseer.cli.options import json_option, pass_client
from overseer.cli.output import moment, print_fields, print_json, print_line, print_table, say
from overseer.core.scopes import Scope

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.core.secret_value import SecretValue
    from overseer.wire.migrations import MigrationImported
    from overseer.wire.secrets import ScopeView

_WHAT = "archive"
passphrase_option = click.option("--passphrase-file", metavar="FILE", help="File that holds the archive's passphrase.")
map_option = click.option(
    "--map-app", "mapped", multiple=True, metavar="OLD=NEW", help="Another name here for an app of the archive; may be repeated."
)


@click.group()
def migrate() -> None:
    """Move secrets with their history to another instance.

    'overseer backup' is for the same instance at another place; 'overseer secret export' is for other programs.
    """


@migrate.command()
@click.option("--output", "-o", required=True, metavar="FILE", help="The new file.")
@click.option("--app", "apps", multiple=True, metavar="APP", help="Secrets of this app; may be repeated.")
@click.option("--env", "environment", metavar="ENV", help="Only those of this environment.")
@click.option("--node", metavar="NODE", help="Only those of this node.")
@click.option("--global", "with_global", is_flag=True, help="Those of the global scope, too.")
@click.option("--all", "everything", is_flag=True, help="All secrets that you may list.")
@click.option("--recipient", "recipients", multiple=True, metavar="KEY", help="age public key that can open it; repeatable.")
@passphrase_option
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@json_option
@pass_client
def export(
    client: Client,
    output: str,
    apps: tuple[str, ...],
    environment: str | None,
    node: str | None,
    with_global: bool,
    everything: bool,
    recipients: tuple[str, ...],
    passphrase_file: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Write secrets with all of their versions to a new file, encrypted with age and signed by this instance.

    Those whose scope has every part that you name, whatever else it has. Needs migration:export, and secret:reveal on each. Keep
    the fingerprint that it prints: whoever imports the file compares it. Without --recipient it asks for a passphrase.
    """
    if everything == bool(apps or environment or node or with_global):
        raise click.UsageError("name --app, --env, --node or --global, or say --all, and not both")
    from overseer.cli.backup_keys import sealing_keys
    from overseer.cli.migration_files import Sealing, new_file

    sealing = Sealing(sealing_keys(recipients, passphrase_file, _WHAT))
    with new_file(output) as written:
        made, content = client.migrations.export(
            sealing.recipients,
            apps=apps,
            environment=environment,
            node=node,
            with_global=with_global,
            everything=everything,
            reason=reason,
        )
        written.write(sealing.sealed(content))
    if as_json:
        told = {"instance": made.instance, "signed_by": made.signed_by, "secrets": made.secrets, "versions": made.versions}
        print_json({"file": output, **told})
        return
    print_line(made.signed_by)
    say(f"{made.secrets} secrets with {made.versions} versions are in {output}, signed by the key above")


@migrate.command("import")
@click.argument("file", metavar="FILE")
@identity_option
@passphrase_option
@click.option("--signed-by", metavar="FINGERPRINT", help="What 'migrate export' has printed; without it you are asked.")
@map_option
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "fail"]),
    default="fail",
    show_default=True,
    help="What becomes of all where one secret cannot come.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@json_option
@pass_client
def import_(
    client: Client,
    file: str,
    identities: tuple[str, ...],
    passphrase_file: str | None,
    signed_by: str | None,
    mapped: tuple[str, ...],
    on_conflict: Literal["fail", "skip"],
    dry_run: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Take in secrets of another instance with their ids and all of their versions, all or nothing.

    Apps, environments and nodes that do not exist are created. What came before is left alone, so it can be repeated, also with a
    newer archive. Running containers are left as they are. Needs migration:import, and secret:write for each.
    """
    names, archive = _names(mapped), _opened(file, identities, passphrase_file)
    if signed_by is None and not dry_run:
        signed_by = _confirmed(archive)
    answer = client.migrations.take_in(
        archive, signed_by=signed_by, app_names=names, on_conflict=on_conflict, dry_run=dry_run, reason=reason
    )
    if as_json:
        print_json(answer)
        return
    _print(answer)


@migrate.command()
@click.argument("file", metavar="FILE")
@identity_option
@passphrase_option
@map_option
@click.option("--reason", default="", metavar="TEXT", help="Why; goes to the audit log.")
@json_option
@pass_client
def verify(
    client: Client,
    file: str,
    identities: tuple[str, ...],
    passphrase_file: str | None,
    mapped: tuple[str, ...],
    reason: str,
    as_json: bool,
) -> None:
    """Compare an archive with this instance by value, every version, without showing a value.

    Ends with 1 where anything is not equal. Needs migration:import, and secret:reveal on each.
    """
    answer = client.migrations.compare(_opened(file, identities, passphrase_file), app_names=_names(mapped), reason=reason)
    if as_json:
        print_json(answer)
    else:
        rows = [(one.name, _scope(one.scope), one.state, one.why) for one in answer.results]
        print_table(("NAME", "SCOPE", "IS", "WHY"), rows)
        equal = sum(one.state == "equal" for one in answer.results)
        of = f"the archive is of {moment(answer.created_at)}, signed by {answer.signed_by}"
        say(f"{equal} of {len(rows)} secrets are equal; {of}")
    if any(one.state != "equal" for one in answer.results):
        click.get_current_context().exit(1)


def _opened(file: str, identities: tuple[str, ...], passphrase_file: str | None) -> SecretValue:
    from overseer.cli.backup_keys import opening_keys, require_file
    from overseer.cli.migration_files import open_file

    require_file(file)
    return open_file(file, opening_keys(identities, passphrase_file, _WHAT))


def _names(mapped: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in mapped]
    if any(not (old and new) for old, _, new in pairs) or len({old for old, _, _ in pairs}) < len(pairs):
        raise click.UsageError("write --map-app OLD=NEW, each app once")
    return {old: new for old, _, new in pairs}


def _confirmed(archive: SecretValue) -> str:
    """The fingerprint of the key that signed it, after a person has compared it."""
    from overseer.cli.terminal import confirm
    from overseer.interchange.migration_archive import fingerprint, read_archive

    found = read_archive(archive)
    mark = fingerprint(found.signer)
    say(f"the archive is of {moment(found.head.created_at)} and says that it is of instance {found.head.instance}")
    confirm(f"is {mark} what 'migrate export' has printed there?", instead="give it as --signed-by")
    return mark


def _print(answer: MigrationImported) -> None:
    print_fields([("instance", answer.instance), ("made", moment(answer.created_at)), ("signed by", answer.signed_by)])
    print_line("")
    title = "WOULD" if answer.dry_run else "DONE"
    rows = [(one.name, _scope(one.scope), one.state, one.done, str(one.versions), one.why) for one in answer.results]
    print_table(("NAME", "SCOPE", "IS", title, "VERSIONS", "WHY"), rows)
    for created in answer.created:
        say(f"{'would create' if answer.dry_run else 'created'} {created}")
    for one in answer.results:
        for note in one.notes:
            say(f"{one.name} ({_scope(one.scope)}): {note}")
    came = sum(one.versions for one in answer.results)
    if answer.dry_run:
        say(f"nothing was changed: this was a dry run; {came} versions would come")
    elif not came:
        say("there was nothing to do: all that can come is here")
    else:
        say(f"imported {came} versions; take them back, scope by scope, with:")
        for one_import in answer.imports:
            say(f"  overseer import undo {one_import}")


def _scope(view: ScopeView) -> str:
    return str(Scope(view.app, view.environment, view.node))

"""``overseer deploy`` and ``overseer undeploy``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overseer.cli.options import DURATION, json_option, pass_client
from overseer.cli.output import print_json, say

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.deployments import BundleCreate, DeploymentCreate

#: Beyond the time that containers may take to become healthy: queueing, Compose itself, and the report.
GRACE_SECONDS = 120


def _target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of both commands."""
    options = [
        click.option("--app", required=True, metavar="APP", help="The app: the Compose project's name comes from it."),
        click.option("--env", "environment", metavar="ENV", help="The environment whose secrets apply."),
        click.option("--node", required=True, metavar="NODE", help="The node to act on."),
        click.option("--wait", "wait_timeout", type=DURATION, default="60s", show_default=True, metavar="TIME",
                     help="How long containers may take to become healthy."),
        click.option("--detach", is_flag=True, help="Do not wait for the end."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("stack_dir", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@_target_options
@click.option("-f", "--file", "compose_files", multiple=True, metavar="FILE", help="A Compose file; may be repeated, in order.")
@click.option("--with", "more", multiple=True, metavar="PATH", help="Take this file or directory of the project along.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile of Compose; may be repeated.")
@click.option("--var", "variables", multiple=True, metavar="KEY=VALUE", help="One of Compose's own variables; never a secret.")
@click.option("--bundle", metavar="DIGEST", help="Deploy a stored bundle instead of STACK_DIR.")
@click.option("--allow-persisting", is_flag=True, help="Allow references in labels, image names and the like.")
@json_option
@pass_client
def deploy(
    client: Client,
    stack_dir: Path | None,
    app: str,
    environment: str | None,
    node: str,
    wait_timeout: int,
    detach: bool,
    compose_files: tuple[str, ...],
    more: tuple[str, ...],
    profiles: tuple[str, ...],
    variables: tuple[str, ...],
    bundle: str | None,
    allow_persisting: bool,
    as_json: bool,
) -> None:
    """Deploy a Compose project on a node.

    Its containers get the secrets that it refers to.

    Sent are the Compose files and what they name below STACK_DIR. Ends with 76 when the deployment failed.
    """
    from overseer.wire.deployments import DeploymentCreate

    if (stack_dir is None) == (bundle is None):
        raise click.UsageError("give either STACK_DIR or --bundle DIGEST")
    if stack_dir is None:
        if compose_files or more or profiles or variables:
            raise click.UsageError("--bundle names a bundle as it is stored: -f, --with, --profile and --var do not go with it")
    else:
        content = read_bundle(stack_dir, compose_files, more=more, profiles=profiles, variables=_variables(variables))
        view = client.deployments.create_bundle(app, content)
        bundle = view.digest
        say(f"bundle {bundle[:12]}: {len(content.files)} files, {view.size} bytes, {len(view.references)} references")
    request = DeploymentCreate(
        app=app,
        node=node,
        environment=environment,
        bundle=bundle,
        allow_persisting=allow_persisting,
        wait_timeout=wait_timeout,
    )
    _execute(client, request, detach=detach, as_json=as_json)


@click.command()
@_target_options
@json_option
@pass_client
def undeploy(
    client: Client, app: str, environment: str | None, node: str, wait_timeout: int, detach: bool, as_json: bool
) -> None:
    """Stop an app on a node and wipe its secrets there.

    Its containers are removed; its volumes stay.
    """
    from overseer.wire.deployments import DeploymentCreate

    request = DeploymentCreate(app=app, node=node, environment=environment, action="undeploy", wait_timeout=wait_timeout)
    _execute(client, request, detach=detach, as_json=as_json)


def read_bundle(
    directory: Path,
    compose_files: Sequence[str] = (),
    *,
    more: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> BundleCreate:
    """The message that stores the project in ``directory`` as a bundle."""
    from overseer.cli.stack_files import compose_files_of, stack_files
    from overseer.wire.deployments import BundleCreate, BundleFile

    names = compose_files_of(directory, compose_files)
    files = []
    for path, content in stack_files(directory, names, more).items():
        try:
            files.append(BundleFile(path=path, content=content.decode("utf-8")))
        except UnicodeDecodeError:
            files.append(BundleFile(path=path, content_base64=base64.b64encode(content).decode("ascii")))
    return BundleCreate(files=files, compose_files=names, profiles=list(profiles), variables=dict(variables or {}))


def _execute(client: Client, request: DeploymentCreate, *, detach: bool, as_json: bool) -> None:
    from overseer.cli.deployment_text import print_references, require_success, tell_state

    view = client.deployments.create(request)
    where = f"{view.app}{f' ({view.environment})' if view.environment else ''} on {view.node}"
    say(f"{view.action} {where}: deployment {view.id}")
    if not detach:
        view = client.deployments.wait(view.id, request.wait_timeout + GRACE_SECONDS, seen=tell_state)
    if as_json:
        print_json(view)
    else:
        print_references(view)
    if not detach:
        require_success(view)


def _variables(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError("write a variable as KEY=VALUE")
        found[key] = value
    return found

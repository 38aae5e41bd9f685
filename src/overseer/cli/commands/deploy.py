"""``overseer deploy`` and ``overseer undeploy``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overseer.cli.approval_options import Asking, approval_options, with_approval
from overseer.cli.options import DURATION, json_option, pass_client
from overseer.cli.output import number, print_json, say

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.wire.approvals import ApprovalView
    from overseer.wire.deployments import BundleCreate, DeploymentCreate, DeploymentEvent, DeploymentView

#: Beyond the time that containers may take to become healthy: queueing, Compose itself, and the report.
GRACE_SECONDS = 120
#: As the server allows.
MOST_NODES = 200
_STACK = ("stack_dir", "compose_files", "more", "profiles", "variables")


class Parallel(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """A number of nodes, or ``all``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "all":
            return MOST_NODES
        text = str(value)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_NODES:
            self.fail(f"write 1 to {MOST_NODES}, or all", param, ctx)
        return int(text)


PARALLEL = Parallel()


def _target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of both commands."""
    options = [
        click.option("--app", required=True, metavar="APP", help="The app: the Compose project's name comes from it."),
        click.option("--env", "environment", metavar="ENV", help="The environment whose secrets apply."),
        click.option("--node", "nodes", multiple=True, metavar="NODE", help="The node to act on; may be repeated, in order."),
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE",
                     help="Instead: every node with this label; may be repeated, all must match."),
        click.option("--parallel", type=PARALLEL, default="1", show_default=True, metavar="N",
                     help="How many nodes at a time, or 'all'. After a failure no further node begins."),
        click.option("--wait", "wait_timeout", type=DURATION, default="60s", show_default=True, metavar="TIME",
                     help="How long containers may take to become healthy."),
        click.option("--detach", is_flag=True, help="Do not wait for the end."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What to deploy or to plan: STACK_DIR and how Compose reads it, or a stored bundle."""
    options = [
        click.argument("stack_dir", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False),
        click.option("-f", "--file", "compose_files", multiple=True, metavar="FILE",
                     help="A Compose file; may be repeated, in order."),
        click.option("--with", "more", multiple=True, metavar="PATH", help="Take this file or directory of the project along."),
        click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile of Compose; may be repeated."),
        click.option("--var", "variables", multiple=True, metavar="KEY=VALUE",
                     help="One of Compose's own variables; never a secret."),
        click.option("--bundle", metavar="DIGEST", help="A stored bundle instead of STACK_DIR."),
        click.option("--allow-persisting", is_flag=True, help="Allow references in labels, image names and the like."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@stack_options
@_target_options
@click.option("--target", type=click.Choice(["compose", "swarm"]), default="compose", show_default=True,
              help="Swarm: a stack of the Swarm that the node's engine manages.")
@click.option("--plan", metavar="DIGEST", help="Only if this plan still holds ('overseer plan' prints its digest).")
@approval_options
@json_option
@pass_client
def deploy(
    client: Client, app: str, bundle: str | None, allow_persisting: bool, target: str, plan: str | None, **options: Any
) -> None:
    """Deploy a Compose project on a node, or on several.

    Its containers get the secrets that it refers to.

    Sent are the Compose files and what they name below STACK_DIR. Ends with 76 when the deployment failed.
    """
    _check_targets(options["nodes"], options["labels"])
    content = given_stack(bundle, **{name: options.pop(name) for name in _STACK})
    if content is not None:
        from overseer.cli.stack_check import check_stack

        labels = pairs(options["labels"], "a label")
        check_stack(
            client, content, app, options["environment"], options["nodes"], labels, allow_persisting=allow_persisting
        )
        view = client.deployments.create_bundle(app, content)
        bundle = view.digest
        files, references = number(len(content.files), "file"), number(len(view.references), "reference")
        say(f"bundle {bundle[:12]}: {files}, {view.size} bytes, {references}")
    if bundle is None:
        raise click.UsageError("give either STACK_DIR or --bundle DIGEST")
    fields: dict[str, Any] = {"bundle": bundle, "allow_persisting": allow_persisting, "target": target, "plan": plan}
    _execute(client, app, action="deploy", **fields, **options)


@click.command()
@_target_options
@approval_options
@json_option
@pass_client
def undeploy(client: Client, app: str, **options: Any) -> None:
    """Stop an app on a node, or on several, and wipe its secrets there.

    Its containers are removed; its volumes stay.
    """
    _check_targets(options["nodes"], options["labels"])
    _execute(client, app, action="undeploy", **options)


def given_stack(
    bundle: str | None,
    *,
    stack_dir: Path | None,
    compose_files: Sequence[str],
    more: Sequence[str],
    profiles: Sequence[str],
    variables: Sequence[str],
) -> BundleCreate | None:
    """The project in STACK_DIR as a message; None without one."""
    if stack_dir is not None:
        if bundle is not None:
            raise click.UsageError("give either STACK_DIR or --bundle DIGEST")
        return read_bundle(stack_dir, compose_files, more=more, profiles=profiles, variables=pairs(variables, "a variable"))
    if compose_files or more or profiles or variables:
        raise click.UsageError("-f, --with, --profile and --var go with STACK_DIR: a stored bundle is as it is stored")
    return None


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


def _check_targets(nodes: Sequence[str], labels: Sequence[str]) -> None:
    if bool(nodes) == bool(labels):
        raise click.UsageError("give --node NODE (once or several times) or --label KEY=VALUE")


def _execute(
    client: Client,
    app: str,
    *,
    nodes: Sequence[str],
    labels: Sequence[str],
    parallel: int,
    detach: bool,
    as_json: bool,
    asking: Asking,
    **fields: Any,
) -> None:
    from overseer.wire.deployments import DeploymentCreate

    several = len(nodes) != 1
    request = DeploymentCreate(
        app=app,
        node=None if several else nodes[0],
        nodes=list(nodes) if len(nodes) > 1 else None,
        labels=pairs(labels, "a label") if labels else None,
        parallel=parallel if several else 1,
        **fields,
    )
    view = with_approval(client, asking, lambda reason: _ask(client, request, reason), lambda: client.deployments.create(request))
    if view.group is not None:
        _await_group(client, view.group, request, detach=detach, as_json=as_json)
    else:
        await_deployment(client, view, request.wait_timeout, detach=detach, as_json=as_json)


def _ask(client: Client, request: DeploymentCreate, reason: str) -> ApprovalView:
    if request.node is None or (request.action == "deploy" and request.plan is None):
        raise click.UsageError("--ask goes with one --node, and for deploy with --plan DIGEST: it is a plan that others approve")
    what: dict[str, Any] = {"app": request.app, "environment": request.environment, "node": request.node}
    if request.action == "deploy":
        what |= {"plan": request.plan, "target": request.target}
    return client.approvals.ask(request.action, reason, **what)


def await_deployment(client: Client, view: DeploymentView, wait_timeout: int, *, detach: bool, as_json: bool) -> None:
    """Show how a deployment that was just ordered goes on, to its end; exit 76 where it did not succeed."""
    from overseer.cli.deployment_text import Progress, print_references, require_success

    where = f"{view.app}{f' ({view.environment})' if view.environment else ''} on {view.node}"
    say(f"{view.action} {where}: deployment {view.id}")
    if not detach:
        seen, idle = _watching(client, [view], Progress())
        view = client.deployments.wait(view.id, wait_timeout + GRACE_SECONDS, seen=seen, idle=idle)
    if as_json:
        print_json(view)
    else:
        print_references(view)
    if not detach:
        require_success(view)


def _await_group(client: Client, group_id: str, request: DeploymentCreate, *, detach: bool, as_json: bool) -> None:
    from overseer.cli.deployment_text import Progress, print_group, require_all

    group = client.deployments.group(group_id)
    nodes = [one.node for one in group.deployments]
    say(f"{request.action} {request.app} on {len(nodes)} nodes, {group.parallel} at a time: group {group.id}")
    if not detach:
        turns = -(-len(nodes) // group.parallel)
        patience = turns * (request.wait_timeout + GRACE_SECONDS)
        seen, idle = _watching(client, group.deployments, Progress(nodes))
        group = client.deployments.wait_for_group(group.id, patience, seen=seen, idle=idle)
    if as_json:
        print_json(group)
    else:
        print_group(group)
    if not detach:
        require_all(group)


def _watching(
    client: Client, views: Sequence[DeploymentView], progress: Callable[[DeploymentEvent], None]
) -> tuple[Callable[[DeploymentEvent], None], Callable[[], None]]:
    """What to call with each event and in between: people see the states, and which agents are away."""
    from overseer.cli.absent_agents import AbsentAgents

    absent = AbsentAgents(client, views)

    def seen(event: DeploymentEvent) -> None:
        progress(event)
        absent.heard(event)

    absent()
    return seen, absent


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``KEY=VALUE`` options as a mapping."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"write {what} as KEY=VALUE")
        found[key] = value
    return found

"""From prepared files and a model to well containers, and back to the former ones where that fails.

The way forward: all files appear at once, per directory; where only the configuration of services that exist changed, they are
made anew one at a time, each awaited before the next; a full ``up`` brings everything else; then running containers whose files
changed are told, one service at a time.

The way back: the former files appear, whoever was told of the new ones is told again, and a full ``up`` of the former model makes
anew what was replaced (with another id) and starts what ended. Where nothing is known of the former deployment (the machine
restarted since), containers that were not replaced get their files back and the others keep the new ones.

Guarantee: an error always leaves through :class:`StepFailed` or :class:`OverseerError` with the files in one of the two states.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from overseer.agent.compose_project import ComposeProject, StepFailed
from overseer.agent.containers import Container, containers_of, settle
from overseer.agent.held_deployment import HeldDeployment
from overseer.agent.injection.redaction import Redactor
from overseer.agent.preparation import Prepared
from overseer.agent.project_files import ProjectFiles, Publication
from overseer.agent.reloading import Reloader, kept_running, wanted
from overseer.agent.service_order import in_order, needed_whole, shares_namespace
from overseer.compose.injection import SecretFile
from overseer.compose.reload import Kind, Reload
from overseer.core.errors import OverseerError

#: A reader may be between the link and the file of the former set: it has this long.
_FORMER_SET_SECONDS: Final = 1.0


@dataclass(slots=True)
class ProjectUpdate:
    """One update. ``again``: it was begun before, so containers may have been told already. ``wait`` in seconds."""

    compose: ComposeProject
    files: ProjectFiles
    prepared: Prepared
    former: HeldDeployment | None
    redactor: Redactor
    wait: int
    again: bool = False
    sleep: Callable[[float], None] = time.sleep
    output: str = ""
    _before: list[Container] = field(default_factory=list)
    _told: dict[str, Reload] = field(default_factory=dict)
    _publication: Publication | None = None
    _published: float = 0.0

    def apply(self) -> list[Container]:
        """Do it; returns the containers, all of them well. Undecided until :meth:`keep` or :meth:`revert`."""
        self._before = containers_of(self.compose.engine, self.compose.name)
        alone = self._one_by_one()
        self._publication = self.files.publish(self.prepared.directories(), self.prepared.shipped)
        self._published = time.monotonic()
        try:
            for service in alone:
                self.output += self.compose.up(self.prepared.text, self.redactor, self.wait, [service], alone=True)
            self.output += self.compose.up(self.prepared.text, self.redactor, self.wait)
        except StepFailed as failed:
            ill = sorted({one.service for one in containers_of(self.compose.engine, self.compose.name) if not one.is_well})
            raise StepFailed(f"{failed}; not healthy: {', '.join(ill)}" if ill else str(failed), failed.output) from None
        self._tell(self._changed(), self.prepared.reloads)
        found = settle(self.compose.engine, self.compose.name, float(self.wait), self.sleep)
        ill = sorted({one.service for one in found if not one.is_well} | self._absent(found))
        if ill:
            raise StepFailed(f"not healthy: {', '.join(ill)}", self.compose.logs(self.redactor))
        return found

    def keep(self) -> None:
        """The new files stay; what belongs to no service any more goes."""
        if self._publication is not None:
            if self._before:  # containers of the project that were made since have only seen the new set
                self.sleep(max(0.0, _FORMER_SET_SECONDS - (time.monotonic() - self._published)))
            self._publication.commit()
        self.files.forget_others(self.prepared.directories(), self.prepared.shipped)

    # -- forward --------------------------------------------------------------------------------------------------------------

    def _one_by_one(self) -> list[str]:
        """Services to make anew alone, in order; none where one ``up`` does the same or is needed."""
        model = self.prepared.injection.model
        services = model.get("services") or {}
        if {one.service for one in self._before} != services.keys() or not all(one.is_well for one in self._before):
            return []
        hashes = self.compose.hashes(self.prepared.text)
        differing = {
            one.service
            for one in self._before
            if not shares_namespace(services[one.service]) and one.model_hash != hashes.get(one.service)
        }
        if len(differing) < 2 or differing & needed_whole(model):
            return []
        return [name for name in in_order(model) if name in differing]

    def _changed(self) -> dict[str, bool]:
        """Services with files of a new content, and whether one of these is mounted as a single file."""
        found: dict[str, bool] = {}
        for planned, _ in self.prepared.files:
            changed = self._publication.changed.get(_segment(planned), set()) if self._publication else set()
            if f"{planned.directory}/{planned.name}" in changed:
                found[planned.service] = found.get(planned.service, False) or planned.mount == "single_file"
        return found

    def _tell(self, changed: Mapping[str, bool], reloads: Mapping[str, Reload]) -> None:
        if not changed:
            return
        reloader = self._reloader()
        kept = kept_running(self._before, containers_of(self.compose.engine, self.compose.name))
        for service, containers, reload in wanted(reloads, changed, in_order(self.prepared.injection.model), kept):
            self._told[service] = reload
            try:
                self.output += reloader.tell(service, containers, reload)
            except StepFailed as failed:
                raise StepFailed(str(failed), failed.output + self.compose.logs(self.redactor)) from None

    def _reloader(self) -> Reloader:
        return Reloader(self.compose.engine, self.compose.name, self.redactor, float(self.wait), self.sleep)

    def _absent(self, found: list[Container]) -> set[str]:
        """Services that should have a container and have none."""
        wanted_services = {
            name
            for name, one in (self.prepared.injection.model.get("services") or {}).items()
            if one.get("scale", (one.get("deploy") or {}).get("replicas", 1)) != 0 and "provider" not in one
        }
        return wanted_services - {one.service for one in found}

    # -- back -----------------------------------------------------------------------------------------------------------------

    def revert(self) -> str:
        """Go back as far as this node can; returns in a sentence what is so now. Raises nothing that :meth:`apply` raises."""
        if self._publication is None:
            return "nothing was changed"
        try:
            return self._restore(self.former) if self.former is not None else self._retreat()
        except StepFailed as failed:
            self.output += failed.output
            return f"the former deployment could not be restored: {failed}"
        except OverseerError as error:
            return f"the former deployment could not be restored: {error.message}"

    def _restore(self, former: HeldDeployment) -> str:
        assert self._publication is not None  # noqa: S101 - revert looked
        changed = self._changed()
        if self.again:
            self._told = {name: self.prepared.reloads.get(name, Reload()) for name in changed} | self._told
        self._publication.undo()
        self.files.restore_shipped(former.shipped)
        self._tell_again(changed, former)
        self.output += self.compose.up(former.text, self.redactor, self.wait)
        self.files.forget_others(former.directories, former.shipped)
        found = settle(self.compose.engine, self.compose.name, float(self.wait), self.sleep)
        ill = sorted({one.service for one in found if not one.is_well})
        if ill:
            return f"the former files and containers are back, but these are not healthy: {', '.join(ill)}"
        old = {one.id for one in self._before}
        anew = sorted({one.service for one in found if one.id not in old})
        return "the former deployment was restored" + (f" (containers made anew: {', '.join(anew)})" if anew else "")

    def _tell_again(self, changed: Mapping[str, bool], former: HeldDeployment) -> None:
        """Running containers that may hold the new files: by the same way where it worked, else by a restart."""
        now = containers_of(self.compose.engine, self.compose.name)
        same = {one.id for one in kept_running(self._before, now)}
        old = {one.id for one in self._before}
        reloader = self._reloader()
        for service in changed.keys() & self._told.keys():
            reload = former.reloads.get(service, self._told[service])
            running = [one for one in now if one.service == service and one.id in old and one.state in {"running", "restarting"}]
            if not running or (reload.kind is Kind.NONE and not changed[service] and all(one.id in same for one in running)):
                continue
            by_restart = changed[service] or any(one.id not in same for one in running)
            try:
                self.output += reloader.tell(service, running, Reload(Kind.RESTART) if by_restart else reload)
            except StepFailed as failed:  # the former `up` and what follows it say how it is then
                self.output += f"\n{failed}\n{failed.output}"

    def _retreat(self) -> str:
        """A service whose containers are still the old ones gets its old files back."""
        assert self._publication is not None  # noqa: S101 - revert looked
        publication = self._publication
        old = {one.id for one in self._before}
        replaced = {one.service for one in containers_of(self.compose.engine, self.compose.name) if one.id not in old}
        changed = self._changed()
        publication.commit({_segment(planned) for planned, _ in self.prepared.files if planned.service in replaced})
        if replaced:
            publication.replaced.clear()  # the new containers were made with the new files of the bundle
        publication.undo()
        reloader = self._reloader()
        kept = [one for one in containers_of(self.compose.engine, self.compose.name) if one.service in changed.keys() - replaced]
        for service in sorted({one.service for one in kept} & self._told.keys()):
            reload = Reload(Kind.RESTART) if changed[service] else self._told[service]
            self.output += reloader.tell(service, [one for one in kept if one.service == service], reload)
        return "containers that were not replaced have their former files" + (
            f"; replaced and left so: {', '.join(sorted(replaced))}" if replaced else ""
        )


def _segment(planned: SecretFile) -> str:
    """The service's directory below the project's services."""
    return planned.directory.partition("/")[0]

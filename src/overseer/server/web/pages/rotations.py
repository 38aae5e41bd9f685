"""How secrets are rotated: all schedules, and one with its steps, its policy, its rotator and its runs. Never a value.

A run is the leader's work: it goes forward, or back, by itself, and there is nothing for people to push. What they can do is ask
for one, hold the schedule, and change what the next one does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from overseer.core.errors import ApprovalRequired, InvalidInput, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.server.rotators.selection import KINDS
from overseer.server.web.attempts import attempt, problems_of
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.rotations import RotationSet, RotationView

#: A run's stored states in their order, and what each says.
STATES: Final[dict[str, str]] = {
    "waiting": "begins within seconds",
    "prepared": "the new value is stored; the source is about to get it",
    "applied": "the source knows the new value; it is about to be tried",
    "verified": "the new value works; containers are about to get it",
    "published": "containers are getting it: waiting for all consumers to acknowledge",
    "acknowledged": "every consumer has it; the old value is about to be retired",
    "reverting": "going back: the old value is being put in force again",
    "succeeded": "done, the old value is retired",
    "reverted": "went back: the old value is in force, nothing is lost",
    "failed": "ended before anything was changed",
}
STEPS: Final = ("waiting", "prepared", "applied", "verified", "published", "acknowledged", "succeeded")
#: Without a rotator nothing is applied or verified at a source.
PLAIN_STEPS: Final = ("waiting", "published", "succeeded")
FOLLOWED: Final = timedelta(minutes=2)
_NUMBERS: Final = ("interval_days", "grace_days", "notify_days", "jitter_minutes")
_TEXTS: Final = ("url", "admin_user", "field")


@page("GET", "/rotations", permission=Permission.SECRET_LIST)
async def list_rotations(visit: Visit) -> Answer:
    found = await visit.services.rotations.list_rotations(visit.caller, cursor=visit.query.optional("cursor"))
    content = {"found": found, "states": STATES, "now": datetime.now(UTC)}
    return View("rotations/list.html", content)


@page("GET", "/secrets/{secret_id}/rotation", permission=Permission.SECRET_LIST)
async def show_rotation(visit: Visit, secret_id: UUID) -> Answer:
    return await _shown(visit, secret_id)


@page("POST", "/secrets/{secret_id}/rotation", permission=Permission.SECRET_WRITE)
async def set_policy(visit: Visit, secret_id: UUID) -> Answer:
    async def change() -> Answer:
        body = RotationSet(policy=_policy(visit.form))
        await visit.services.rotations.set_rotation(visit.caller, secret_id, body)
        return Redirect(f"/secrets/{secret_id}/rotation?done={'policy' if body.policy else 'removed'}")

    return await attempt(change, lambda error: _shown(visit, secret_id, error))


@page("POST", "/secrets/{secret_id}/rotation/rotator", permission=Permission.ROTATOR_WRITE)
async def set_rotator(visit: Visit, secret_id: UUID) -> Answer:
    async def change() -> Answer:
        rotator = None if visit.form.text("change") == "remove" else await _rotator(visit)
        await visit.services.rotations.set_rotation(visit.caller, secret_id, RotationSet(rotator=rotator))
        return Redirect(f"/secrets/{secret_id}/rotation?done={'rotator' if rotator else 'no_rotator'}")

    return await attempt(change, lambda error: _shown(visit, secret_id, error))


@page("POST", "/secrets/{secret_id}/rotation/hold", permission=Permission.SECRET_WRITE)
async def hold_rotation(visit: Visit, secret_id: UUID) -> Answer:
    async def change() -> Answer:
        paused = visit.form.text("change") != "resume"
        await visit.services.rotations.set_rotation(visit.caller, secret_id, RotationSet(paused=paused))
        return Redirect(f"/secrets/{secret_id}/rotation?done={'held' if paused else 'resumed'}")

    return await attempt(change, lambda error: _shown(visit, secret_id, error))


@page("POST", "/secrets/{secret_id}/rotation/run", permission=Permission.SECRET_ROTATE)
async def run_rotation(visit: Visit, secret_id: UUID) -> Answer:
    async def run() -> Answer:
        await visit.services.rotations.run_rotation(visit.caller, secret_id)
        return Redirect(f"/secrets/{secret_id}/rotation?done=run")

    return await attempt(run, lambda error: _shown(visit, secret_id, error))


def schedule_text(policy: dict[str, Any] | None) -> str:
    """When a policy is due, in words; '' where never by itself."""
    if policy and policy.get("cron"):
        return f"cron {policy['cron']} (UTC)"
    days = (policy or {}).get("interval_days")
    return "" if days is None else "every day" if days == 1 else f"every {days} days"


async def _shown(visit: Visit, secret_id: UUID, error: OverseerError | None = None) -> Answer:
    rotations, caller = visit.services.rotations, visit.caller
    tagged = await visit.services.secrets.get(caller, secret_id)
    rotation = await rotations.get_rotation(caller, secret_id)
    runs = await rotations.list_runs(caller, secret_id, cursor=visit.query.optional("cursor"), limit=20)
    form, fragment = visit.form, visit.fragment and visit.query.text("part") == "state"
    content = {
        "secret": tagged.view,
        "rotation": rotation,
        "runs": runs,
        "schedule": schedule_text(rotation.policy),
        "states": STATES,
        "follows": _is_young(rotation),
        "steps": STEPS if rotation.rotator else PLAIN_STEPS,
        "policy": _given_policy(form, rotation),
        "rotator": _given_rotator(form, rotation),
        "kinds": KINDS,
        "open": _opened(visit) if error else "",
        "error": error,
        "asking": ("activate", "") if isinstance(error, ApprovalRequired) else None,
        "problems": problems_of(error) | _of_cron(error),
        "done": visit.query.text("done"),
    }
    template = "rotations/state.html" if fragment else "rotations/show.html"
    return View(template, content, status=error.status if error else 200, fragment=fragment)


def _of_cron(error: OverseerError | None) -> dict[str, str]:
    """What is wrong with the times belongs beside their field; services place it at the policy as a whole."""
    rules = [one.rule for one in error.problems if one.code == "bad_cron"] if error else []
    return {"cron": rules[0]} if rules else {}


def _is_young(rotation: RotationView) -> bool:
    """Whether the page asks for the run again by itself: each look is audited, and some runs wait for days."""
    run = rotation.newest_run
    return run is not None and run.finished_at is None and datetime.now(UTC) - run.created_at < FOLLOWED


def _opened(visit: Visit) -> str:
    """Which form was refused, so that it stands open with its reasons."""
    return "rotator" if visit.path.endswith("/rotator") else "policy" if visit.path.endswith("/rotation") else ""


def _policy(form: Form) -> dict[str, Any] | None:
    """The policy of the form; None where it asks for nothing, which takes the policy away."""
    if form.text("change") == "remove":
        return None
    when = form.text("when")
    fields: dict[str, Any] = {name: form.number(name) for name in _NUMBERS}
    fields |= {"cron": form.optional("cron"), "generate": form.optional("generate")}
    if when != "interval":
        del fields["interval_days"]
    elif fields["interval_days"] is None:
        rule = "how many days from one version to the next"
        raise InvalidInput(rule, problems=[Problem("interval_days", rule, "bad_rotation")])
    if when != "cron":
        del fields["cron"]
    elif fields["cron"] is None:
        rule = "five fields: minute, hour, day, month, weekday"
        raise InvalidInput(rule, problems=[Problem("cron", rule, "bad_rotation")])
    return {name: value for name, value in fields.items() if value is not None}


async def _rotator(visit: Visit) -> dict[str, Any]:
    form = visit.form
    kind = form.text("kind")
    fields: dict[str, Any] = {"kind": kind, "admin": await _secret_id(visit, form.text("admin"))}
    fields |= {name: form.text(name) for name in _TEXTS if form.text(name)}
    users = [one for one in form.text("users").replace(",", " ").split() if one]
    if users and kind != "webhook":
        fields["users"] = users
    if form.text("ca"):
        fields["ca"] = form.text("ca").replace("\r\n", "\n") + "\n"
    if kind == "redis" and form.checked("foreign_acl"):
        fields["persist"] = False
    if kind == "webhook" and form.checked("both_work"):
        fields["both_work"] = True
    return fields


async def _secret_id(visit: Visit, text: str) -> str:
    """The id of the secret that ``text`` names: an id already, or a name that one secret alone has."""
    try:
        return str(UUID(text))
    except ValueError:
        pass
    found = (await visit.services.secrets.list(visit.caller, name=text, limit=2)).items if text else []
    if len(found) != 1:
        rule = "several secrets have this name: give the id" if found else "the name or id of a secret that you may see"
        raise InvalidInput(rule, problems=[Problem("rotator.admin", rule, "bad_rotator")])
    return found[0].id


def _given_policy(form: Form, rotation: RotationView) -> dict[str, Any]:
    """What the policy's form shows: what was typed, or what is in force."""
    policy = rotation.policy or {}
    names = ("cron", "generate", *_NUMBERS)
    shown = {name: form.get(name, policy.get(name, "")) for name in names}
    in_force = "cron" if "cron" in policy else "interval" if "interval_days" in policy else "never"
    return shown | {"when": form.get("when", in_force)}


def _given_rotator(form: Form, rotation: RotationView) -> dict[str, Any]:
    rotator = rotation.rotator or {}
    shown = {name: form.get(name, rotator.get(name, "")) for name in ("kind", "admin", "ca", *_TEXTS)}
    shown["users"] = form.get("users", ", ".join(rotator.get("users", ())))
    sent = "kind" in form
    shown["foreign_acl"] = form.checked("foreign_acl") if sent else rotator.get("persist") is False
    shown["both_work"] = form.checked("both_work") if sent else rotator.get("both_work") is True
    return shown

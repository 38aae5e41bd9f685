"""What people give and get when they sign in: passwords, invitations, second factors, sessions, cookies; right and wrong ones."""

from __future__ import annotations

import time
from base64 import b32decode

from overseer.core.secret_value import SecretValue
from overseer.crypto.one_time_codes import code_at
from tests.e2e.canary.markers import Canaries
from tests.e2e.canary.search import Search
from tests.e2e.canary.system import System


def sign_people_in(system: System, canaries: Canaries, search: Search) -> None:
    """A user's life, with a canary wherever something secret belongs, and where it does not."""
    first, second = (canaries.text(f"{which} password", lines=False) for which in ("first", "second"))
    user = system.http("POST", "/api/users", {"name": "ann"}).json()["id"]
    invitation = _invited(system, search, user)
    too_long = system.http("POST", "/api/auth/invitation", {"invitation": invitation, "password": first + "x" * 300}, token="")
    assert too_long.status_code == 422
    accepted = {"invitation": invitation, "password": first}
    assert [system.http("POST", "/api/auth/invitation", accepted, token="").status_code for _ in range(2)] == [204, 401]
    session = _signed_in(system, search, {"name": "ann", "password": first})
    system.http("GET", "/api/me", token="", headers={"cookie": f"overseer={session}", "x-overseer-csrf": "1"})
    started = system.http("POST", "/api/me/totp", {"password": first}, token=session, shows=True).json()
    search.add_token("second factor", started["secret"])
    code = code_at(SecretValue(b32decode(started["secret"])), int(time.time()) // 30)
    made = system.http("POST", "/api/me/totp/confirm", {"code": code}, token=session, shows=True).json()
    for recovery in made["codes"]:
        search.add_token("recovery code", recovery)
        search.add_token("recovery code", recovery.replace("-", ""))
    search.add_token("session", made["session"])
    change = {"current": first, "password": second}
    renewed = system.http("POST", "/api/me/password", change, token=made["session"], shows=True).json()["session"]
    search.add_token("session", renewed)
    assert system.http("POST", "/api/me/password", change, token=renewed).status_code == 403
    assert system.http("POST", "/api/auth/sign-in", {"name": "ann", "password": second}, token="").status_code == 401
    _signed_in(system, search, {"name": "ann", "password": second, "code": made["codes"][0]})
    _be_refused(system, canaries)
    search.add_token("invitation", _invited(system, search, user))


def _be_refused(system: System, canaries: Canaries) -> None:
    """Passwords where names belong, and credentials of every kind that are none."""
    wrong = canaries.text("a wrong password", lines=False)
    word = canaries.word("a password in place of a name")
    for body in (
        {"name": "ann", "password": wrong},
        {"name": word, "password": wrong},
        {"name": wrong, "password": "x"},
        {"name": "ann", "password": "x", "code": wrong},
        {"name": "ann", "password": "x", "code": 5, word: wrong},
    ):
        assert system.http("POST", "/api/auth/sign-in", body, token="").status_code in (401, 422, 429)
    finish = {"ticket": word, "code": wrong, "state": wrong, "issuer": wrong}
    assert system.http("POST", "/api/auth/oidc/finish", finish, token="").status_code == 401
    assert system.http("POST", "/api/auth/oidc/begin", {"provider": word, "redirect_uri": wrong}, token="").status_code == 422
    assert system.http("POST", "/api/auth/exchange", {"name": word, "token": wrong}, token="").status_code == 401
    assert system.http("POST", "/api/auth/invitation", {"invitation": wrong, "password": wrong}, token="").status_code == 401
    cookie = {"cookie": f"overseer=ovss_{word}; __Host-overseer={word}", "x-overseer-csrf": word}
    assert system.http("GET", "/api/me", token="", headers=cookie).status_code == 401
    system.cli("login", "--user", "ann", "--stdin", stdin=f"{wrong}\n{word}\n".encode(), expect=77)


def _invited(system: System, search: Search, user: str) -> str:
    made: str = system.http("POST", f"/api/users/{user}/reset", {}, shows=True).json()["invitation"]
    search.add_token("invitation", made)
    return made


def _signed_in(system: System, search: Search, body: dict[str, str]) -> str:
    made = system.http("POST", "/api/auth/sign-in", body, token="", shows=True)
    assert made.status_code == 201, made.status_code
    session: str = made.json()["session"]
    search.add_token("session", session)
    return session

"""Pages, the proof of their forms, their assets, and where a visitor may be sent."""

from __future__ import annotations

import hashlib

import pytest

from overseer.core.errors import ForeignOrigin
from overseer.core.permissions import Permission
from overseer.server.api.route import AnyIdentity, Open
from overseer.server.web.assets import assets, assets_by_path
from overseer.server.web.catalogue import PAGES
from overseer.server.web.csrf import check_proof, proof_of
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.sign_in import local_path
from overseer.server.web.visit import Visit


def test_every_page_says_what_it_asks_for() -> None:
    assert all(isinstance(one.permission, Permission | Open | AnyIdentity) for one in PAGES)
    addresses = [(one.method, one.path) for one in PAGES]
    assert len(set(addresses)) == len(addresses)


def test_no_page_changes_anything_on_a_visit() -> None:
    """What follows a link (a browser that fetches ahead, an image of another site) is a GET."""
    words = ("create", "change", "delete", "update", "rotate", "activate", "reveal", "revoke", "sign_out", "accept", "end_")
    for one in PAGES:
        if one.method == "GET":
            assert not one.name.startswith(words), one.name


def test_a_page_without_its_parameters_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="its parameters are those of"):

        @page("GET", "/things/{thing_id}", permission=Permission.SECRET_LIST)
        async def show_thing(visit: Visit) -> Answer:
            return Redirect("/")

    with pytest.raises(TypeError, match="GET and POST"):
        page("PUT", "/things", permission=Permission.SECRET_LIST)(test_no_page_changes_anything_on_a_visit)  # type: ignore[arg-type]


def test_what_a_view_shows_is_not_in_its_repr() -> None:
    assert "hunter2" not in repr(View("value.html", {"value": "hunter2"}))
    assert "hunter2" not in repr(Redirect("/", ((b"set-cookie", b"hunter2"),)))


def test_a_proof_is_of_one_session() -> None:
    mine, yours = proof_of(hashlib.sha256(b"mine").digest()), proof_of(hashlib.sha256(b"yours").digest())
    check_proof(mine, mine)
    for sent in (yours, "", mine[:-1], mine + "0", mine.upper(), "é"):
        with pytest.raises(ForeignOrigin):
            check_proof(sent, mine)
    with pytest.raises(ForeignOrigin):  # nobody has signed in: no proof is right
        check_proof("", "")


@pytest.mark.parametrize(
    "text",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "evil", "/a\r\nb", "/a b", "/é"],
)
def test_nobody_is_sent_to_another_site(text: str) -> None:
    assert local_path(text) == "/"


def test_a_path_of_this_site_is_kept() -> None:
    assert local_path("/secrets?app=shop&q=a%20b") == "/secrets?app=shop&q=a%20b"


def test_an_asset_is_named_by_its_content() -> None:
    assert set(assets()) == {"overseer.css", "overseer.js", "icon.svg", "htmx.js"}
    for path, asset in assets_by_path().items():
        assert hashlib.sha256(asset.content).hexdigest()[:16] in path
        assert b"http://" not in asset.content.replace(b"http://www.w3.org/", b"") or path.endswith("htmx.js")


def test_style_and_script_ask_no_other_host() -> None:
    for name in ("overseer.css", "overseer.js"):
        text = assets()[name].content.decode()
        assert "url(" not in text
        assert "@import" not in text
        assert "eval(" not in text
        assert "innerHTML" not in text

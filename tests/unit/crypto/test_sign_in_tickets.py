from __future__ import annotations

import base64
import hashlib

import pytest

from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import HmacKey
from overseer.crypto.sign_in_tickets import MAX_TICKET, new_ticket, open_ticket, same

KEY = HmacKey(bytes(range(32)))
BACK = "http://127.0.0.1:40000/callback"


def test_a_ticket_opens_to_what_it_was_made_of() -> None:
    made = new_ticket(KEY, "corp", BACK, 1000)
    ticket = open_ticket(KEY, made, 999.9)
    assert ticket is not None
    assert (ticket.provider, ticket.redirect_uri, ticket.expires) == ("corp", BACK, 1000)
    again = open_ticket(KEY, made, 0)
    assert again is not None
    assert (again.state, again.nonce, again.verifier, again.digest) == (
        ticket.state,
        ticket.nonce,
        ticket.verifier,
        ticket.digest,
    )


def test_everything_that_is_derived_differs_and_says_nothing_of_the_rest() -> None:
    tickets = [open_ticket(KEY, new_ticket(KEY, "corp", BACK, 1000), 0) for _ in range(3)]
    derived = [text for one in tickets if one for text in (one.state, one.nonce, one.verifier.reveal().decode(), one.challenge)]
    assert len(set(derived)) == 12
    assert {len(text) for text in derived} == {43}  # RFC 7636, section 4.1: 43 to 128 characters
    assert "Ticket(" not in repr(tickets[0]).replace("sign_in_tickets.Ticket", "")


def test_the_challenge_is_that_of_the_rfc() -> None:
    ticket = open_ticket(KEY, new_ticket(KEY, "corp", BACK, 1000), 0)
    assert ticket is not None
    digest = hashlib.sha256(ticket.verifier.reveal()).digest()
    assert ticket.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_it_ends_and_belongs_to_one_key() -> None:
    made = new_ticket(KEY, "corp", BACK, 1000)
    assert open_ticket(KEY, made, 1000) is None
    assert open_ticket(HmacKey(bytes(32)), made, 0) is None


def test_every_changed_character_is_refused() -> None:
    text = new_ticket(KEY, "corp", BACK, 1000).reveal()
    raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert open_ticket(KEY, SecretValue(base64.urlsafe_b64encode(changed)), 0) is None


@pytest.mark.parametrize("text", ["", "x", "AAAA", "A" * (MAX_TICKET + 1), "é", "=", "A" * 43])
def test_what_is_no_ticket_is_refused(text: str) -> None:
    assert open_ticket(KEY, SecretValue(text), 0) is None


def test_same_takes_any_text() -> None:
    assert same("a", "a")
    assert not same("a", "b")
    assert not same("\ud800", "é")

"""``overseer agent join --url URL``: this machine becomes a node, by an enrolment token.

Guarantees: nothing is believed that the token does not pin. Under TLS only the CA whose key (SPKI) the token names is trusted,
bundles will only be taken from the server key of the token, and the node proves that it holds both of its keys. The same token
with the same keys may be repeated (an answer was lost); the private keys are on disk before the first request and never leave.

It will not enrol over the network without TLS, and not take over a directory that is enrolled with another token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from overseer import __version__
from overseer.agent.identity import FORMAT, NodeRecord, load_identity, make_keys, store_ca, store_record
from overseer.agent.private_files import private_directory
from overseer.client.addresses import ServerAddress, as_text, parse_addresses
from overseer.client.http import HttpClient
from overseer.core.errors import ConfigurationProblem, Conflict, KeyProblem, NodeProblem, Unreachable
from overseer.core.secret_value import SecretValue
from overseer.crypto.certificates import certificates_in, spki_hash
from overseer.crypto.node_keys import NONCE_BYTES, NodeKeys, answer_challenge, prove_join
from overseer.crypto.tokens import token_hash
from overseer.wire.agent import ConfirmRequest, EnrolAnswer, EnrolRequest
from overseer.wire.enrolment_token import EnrolmentToken, parse_enrolment_token
from overseer.wire.scopes import NodeView

USER_AGENT = f"overseer-agent/{__version__}"


@dataclass(frozen=True, slots=True)
class Joined:
    """What ``join`` did; ``already``: the node was enrolled with this token before."""

    node: str
    node_id: UUID
    url: str
    already: bool


def join(token: SecretValue, url: str, directory: Path, ca_file: Path | None = None) -> Joined:
    """Enrol this machine with ``url`` (of several replicas, with commas between) and keep the identity in ``directory``.

    ``ca_file`` (PEM) is needed where the server does not send its CA along; its key must be the pinned one either way. Raises
    :class:`InvalidInput` for a text that is no token, :class:`KeyProblem` and :class:`NodeProblem` where the server is not the
    token's, :class:`Conflict` where the directory belongs to another enrolment, and the server's own refusals.
    """
    pins = parse_enrolment_token(token)
    used = token_hash(pins.secret)
    private_directory(directory)
    known = load_identity(directory)
    if known is not None:
        if not hmac.compare_digest(known.record.token_hash, used):
            raise Conflict(f"this machine is node {known.record.node} already; remove {directory} to enrol it anew")
        return Joined(known.record.node, known.record.node_id, known.record.url, already=True)
    addresses = parse_addresses(url)
    ca_pem = _pinned_ca(addresses, pins.ca_spki, ca_file)
    keys = make_keys(directory)
    trusted = store_ca(directory, ca_pem) if ca_pem is not None else None
    with HttpClient(as_text(addresses), ca_file=trusted, user_agent=USER_AGENT) as client:
        answer = _enrol(client, pins, used, keys)
    record = NodeRecord(
        format=FORMAT,
        url=as_text(addresses),
        node=answer.node,
        node_id=UUID(answer.node_id),
        instance_id=UUID(answer.instance_id),
        key_id=answer.key_id,
        verify_key=pins.verify_key,
        token_hash=used,
        ca_file=ca_pem is not None,
    )
    store_record(directory, record, ca_pem)
    return Joined(record.node, record.node_id, record.url, already=False)


def _enrol(client: HttpClient, pins: EnrolmentToken, used: bytes, keys: NodeKeys) -> EnrolAnswer:
    """Both calls; see ``overseer.crypto.node_keys`` for what each proves."""
    nonce = os.urandom(NONCE_BYTES)
    request = EnrolRequest(
        token=pins.secret.reveal().decode("ascii"),
        encryption_key=_text(keys.public.sealing),
        signing_key=_text(keys.public.signing),
        nonce=_text(nonce),
        proof=_text(prove_join(keys, used, nonce)),
        agent_version=__version__,
    )
    answer = client.request("POST", "/api/agent/enrol", request, returns=EnrolAnswer).value
    if _bytes(answer.verify_key, "verify key") != pins.verify_key or answer.node != pins.node:
        raise NodeProblem("the server that answered is not the one that made this token: nothing was enrolled; check the URL")
    opened = answer_challenge(
        _bytes(answer.challenge, "challenge"), keys, UUID(answer.instance_id), UUID(answer.node_id), nonce
    )
    confirmation = ConfirmRequest(key_id=answer.key_id, response=_text(opened))
    client.request("POST", "/api/agent/confirm", confirmation, returns=NodeView)
    return answer


def _pinned_ca(addresses: Sequence[ServerAddress], pin: bytes | None, ca_file: Path | None) -> bytes | None:
    """The CA's certificate as PEM, the one whose key has the hash ``pin``; ``None`` on plain loopback."""
    secure = [address for address in addresses if address.secure]
    if not secure:
        return None
    if pin is None:
        raise ConfigurationProblem("the token was made by a server without TLS: make a new one with the server's TLS on")
    if ca_file is not None:
        try:
            offered = certificates_in(ca_file.read_bytes())
        except OSError as error:
            raise ConfigurationProblem(f"{ca_file} cannot be read: {error.strerror}") from None
    else:
        offered = _chain_of_any(secure)
    for certificate in offered:
        if hmac.compare_digest(spki_hash(certificate), pin):
            return ssl.DER_cert_to_PEM_cert(certificate).encode("ascii")
    where = str(ca_file) if ca_file is not None else "what the server sent"
    raise KeyProblem(f"{where} does not hold the CA that the token names; give its certificate with --ca-file")


def _chain_of_any(addresses: Sequence[ServerAddress]) -> list[bytes]:
    for address in addresses[:-1]:
        try:
            return _chain_of(address)
        except Unreachable:
            continue  # another replica has the same CA
    return _chain_of(addresses[-1])


def _chain_of(address: ServerAddress) -> list[bytes]:
    """The certificates that the server sends, as DER, *unverified*: only to look among them for the pinned key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=15) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secure,
        ):
            # Public as SSLSocket.get_unverified_chain from Python 3.13 on; the same object has it since 3.10.
            chain = secure._sslobj.get_unverified_chain() or []  # type: ignore[attr-defined]
            return [certificate.public_bytes(2) for certificate in chain]  # 2: DER
    except ssl.SSLError:
        raise Unreachable(f"{address} does not speak TLS") from None
    except OSError as error:
        raise Unreachable(f"cannot reach {address}: {(error.strerror or 'no answer').lower()}") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NodeProblem(f"the {what} cannot be read: it is not base64") from None

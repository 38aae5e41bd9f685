"""What a check of an installation says: one line each, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

TOLERATED_SKEW_SECONDS: Final = 5.0
SOON: Final = timedelta(days=30)


class Level(StrEnum):
    """``problem``: it does not work, or a promise of Overseer does not hold. ``warning``: it works, and should be looked at."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """``check`` is a stable word for programs; ``advice`` is what to do, empty where nothing is. Never a value."""

    check: str
    level: Level
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """As it should be."""
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Works, and should be looked at."""
    return Finding(check, Level.WARNING, text, advice)


def problem(check: str, text: str, advice: str) -> Finding:
    """Does not work, or does not hold."""
    return Finding(check, Level.PROBLEM, text, advice)


def clock_finding(check: str, off: float, whose: str) -> Finding:
    """``off``: seconds by which the other clock is ahead of this machine's."""
    if abs(off) > TOLERATED_SKEW_SECONDS:
        text = f"{whose} clock and this machine's are {abs(off):.0f} s apart"
        return problem(check, text, "set both by NTP: expiries and assertions are judged by clocks")
    return ok(check, f"{whose} clock and this machine's agree")


def certificate_finding(check: str, ends: datetime, now: datetime) -> Finding:
    """Whether a certificate that is good until ``ends`` is expired, or will be soon."""
    if ends <= now:
        return problem(check, f"a certificate expired on {ends:%Y-%m-%d}", "renew it and restart the server")
    if ends <= now + SOON:
        return warning(check, f"a certificate expires on {ends:%Y-%m-%d}", "renew it and restart the server")
    return ok(check, f"the certificate is good until {ends:%Y-%m-%d}")

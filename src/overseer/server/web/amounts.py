"""Times, sizes and ages as people read them, rounded to what they mean; the exact number stands beside them where it counts."""

from __future__ import annotations

from datetime import UTC, datetime

from overseer.core.durations import UNITS, span

__all__ = ["ago", "size", "span"]


def size(count: int) -> str:
    """``count`` bytes with a binary prefix (IEC 80000-13): ``512 B``, ``1.5 MiB``."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for prefix in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {prefix}"
    return f"{amount / 1024:.1f} TiB"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long ago ``at`` was, in its greatest unit; or how far ahead it lies, to the nearest: a day less a minute is a day."""
    seconds = int(((now or datetime.now(UTC)) - at).total_seconds())
    if abs(seconds) < 10:
        return "now"
    word, size_ = next(unit for unit in UNITS if abs(seconds) >= unit[1])
    count = seconds // size_ if seconds > 0 else round(-seconds / size_)
    text = f"{count} {word}{'' if count == 1 else 's'}"
    return f"{text} ago" if seconds > 0 else f"in {text}"

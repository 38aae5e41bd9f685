"""Secrets as text that other programs read and write: what import reads, what export writes. Pure: bytes in, values out."""

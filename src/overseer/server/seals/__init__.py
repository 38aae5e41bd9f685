"""Seals: where the root key comes from when the server starts. One module a kind; ``selection`` makes the configured one."""

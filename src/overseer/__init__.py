"""Overseer: a self-hosted secrets manager for applications deployed with Docker Compose."""

__version__ = "0.1.0"

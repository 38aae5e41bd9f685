"""Cryptography: the only place that imports the ``cryptography`` package. Nothing here reads a file, a clock or the network."""

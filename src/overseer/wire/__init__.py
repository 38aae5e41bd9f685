"""The messages between server, agent, command line and Python client: one module a noun.

Evolution rule: requests refuse unknown fields, answers may grow fields and readers ignore what they do not know.
Times are RFC 3339 in UTC; ids are UUIDs as text; bytes are standard base64 with padding.
"""

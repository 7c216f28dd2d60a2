"""The edge: the only room that knows aiohttp's server.

A handler reads a call, hands it to the relay or the store, and writes the
reply. Nothing is decided here, and no Redis command is known here.
"""

"""Chat: what an agent adds to a call, and the loop in which it uses its tools.

Nothing in here knows aiohttp's server or a Redis command.
"""

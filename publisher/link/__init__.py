"""Everything between this publisher and one broker: calls, channel, registration, uploads.

Nothing here knows a backend.
"""

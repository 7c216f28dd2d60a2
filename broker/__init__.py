"""Reveille's broker: one stable HTTP address in front of LLMs that live at publishers.

This package imports nothing at its top, so that the publisher can use
``broker.wire`` without loading Redis or the HTTP server.
"""

__version__ = "0.1.0"

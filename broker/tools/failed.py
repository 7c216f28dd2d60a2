"""What a tool server is told to have done wrong. It holds no key, and no address beyond what the project says."""

from __future__ import annotations


class ToolServerFailed(Exception):
    """A tool server did not do what it was asked. The message goes on after its name: "could not be reached (…)"."""

"""The folders that every test of the control socket plays in."""

from tests.publisher.control.serving import home

__all__ = ["home"]

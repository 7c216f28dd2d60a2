"""What the embedded server can fail with."""


class EmbeddedError(RuntimeError):
    """The embedded server cannot be found, started or attached to. The message
    is for the person at the terminal and names the way out."""

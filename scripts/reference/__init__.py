"""The reference of both commands, as their own help says it. ``page`` makes it; ``__main__`` writes ``docs/cli.md``."""

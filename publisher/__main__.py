"""``python -m publisher`` and the ``publisher`` command. Never more than the way in."""

from publisher.cli.main import publisher


def main() -> None:
    publisher(prog_name="publisher")


if __name__ == "__main__":
    main()

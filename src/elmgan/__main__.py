"""``python -m elmgan`` is the elmgan command."""

from elmgan.apps.cli import main

if __name__ == "__main__":
    main()

"""``python -m csbrnn`` is the command ``csbrnn``."""

from csbrnn.cli import main

if __name__ == "__main__":
    main()

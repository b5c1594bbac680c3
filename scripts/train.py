"""The same as ``gains train``."""

from gains.cli import main

if __name__ == "__main__":
    main("train")

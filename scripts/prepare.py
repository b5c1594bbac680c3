"""The same as ``gains prepare``."""

from gains.cli import main

if __name__ == "__main__":
    main("prepare")

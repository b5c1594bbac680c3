"""The same as ``gains eval``."""

from gains.cli import main

if __name__ == "__main__":
    main("eval")

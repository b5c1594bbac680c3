"""The same as ``gains score``."""

from gains.cli import main

if __name__ == "__main__":
    main("score")

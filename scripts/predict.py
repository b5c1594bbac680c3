"""The same as ``gains predict``."""

from gains.cli import main

if __name__ == "__main__":
    main("predict")

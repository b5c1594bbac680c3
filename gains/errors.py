"""The one exception that is the user's to fix."""


class InputError(ValueError):
    """Bad input: a file, folder or setting. The message names it, says what is wrong and what would be right.

    The command line prints the message alone, without a stack trace, and exits with status 2.
    """

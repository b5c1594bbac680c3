"""Exceptions of this program: what is the user's to fix, and the end of one run of several."""

from hydra.errors import CompactHydraException


class InputError(ValueError):
    """Bad input: a file, folder or setting. The message names it, says what is wrong and what would be right.

    The command line prints the message alone, without a stack trace, and exits with status 2.
    """


class Unwritable(InputError):
    """A place that nothing can be written to, such as a full disk: nothing else can be done there either."""


class InUse(InputError):
    """A folder to which another call is writing just now."""


class RunFailed(CompactHydraException):
    """A run of several (``-m``) has failed, which its folder tells; Hydra goes on with the others."""

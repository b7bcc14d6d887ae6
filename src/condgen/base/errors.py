"""The exception for errors that the user can fix."""


class UserError(Exception):
    """An error that the user can fix. Its message is one line that says what is wrong and what to do.

    Stages print it on stderr and exit with status 1, without a traceback (`preflight.run`).
    """


def without_login(address: str) -> str:
    """The address without user name and password (https://me:secret@host), for display.

    A password may itself contain @ or /, so everything up to the last @ is removed.
    """
    scheme, mark, rest = address.partition("://")
    return scheme + mark + rest.rpartition("@")[2] if mark else address

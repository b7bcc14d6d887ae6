"""The one exception that means: the person can fix this, and here is how."""


class UserError(Exception):
    """Something a user can cause. Its text is one line that says what is wrong and what to do.

    Stages print it on stderr and exit with status 1, without a traceback (`preflight.run`).
    """


def without_login(address: str) -> str:
    """The address without the user and the password of https://me:secret@host, for people to see.

    A password may itself hold an @ or a /: all up to the last @ goes.
    """
    scheme, mark, rest = address.partition("://")
    return scheme + mark + rest.rpartition("@")[2] if mark else address

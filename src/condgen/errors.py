"""The one exception that means: the person can fix this, and here is how."""


class UserError(Exception):
    """Something a user can cause. Its text is one line that says what is wrong and what to do.

    Stages print it on stderr and exit with status 1, without a traceback (`preflight.run`).
    """

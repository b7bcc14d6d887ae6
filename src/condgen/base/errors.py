"""The one exception that means: the person can fix this, and here is how."""

import re


class UserError(Exception):
    """Something a user can cause. Its text is one line that says what is wrong and what to do.

    Stages print it on stderr and exit with status 1, without a traceback (`preflight.run`).
    """


def without_password(text: str) -> str:
    """The text, with *** for the password in an address like https://me:secret@host."""
    return re.sub(r"(//[^/@\s:]*):[^/@\s]*@", r"\1:***@", text)

"""The exception for errors that the user can fix, and texts that are safe to show."""

import re


class UserError(Exception):
    """An error that the user can fix. Its message is one line that says what is wrong and what to do.

    Stages print it on stderr and exit with status 1, without a traceback (`preflight.run`). It holds no
    secret of an address, whatever it was made from.
    """

    def __init__(self, message: object):
        super().__init__(without_secrets(str(message)))


def without_secrets(text: str) -> str:
    """A text whose addresses (http://me:secret@host/a?token=secret) have neither a login nor a query.

    For everything that is shown or stored. Call it before a text is cut: of half an address nobody can tell
    what is a password.
    """
    return re.sub(r"\S+", _without_secrets, text)


def _without_secrets(word: re.Match[str]) -> str:
    start, mark, rest = word[0].partition("://")
    if not mark or (start.endswith("sqlite") and mark not in rest):  # which has a path and nothing else
        return word[0]
    if not rest.startswith("/"):
        rest = rest.rpartition("@")[2]  # the last one: a password may itself contain @, / or ?
    return start + mark + re.split("[?&]", rest, maxsplit=1)[0]


def one_line(text: object, most: int = 300) -> str:
    """Any text in one line without secrets; what is not UTF-8, as in a file's name, is escaped.

    Of an error it is the message, or the kind if there is none. It has at most `most` characters, and is cut
    between words if it has several.
    """
    said = str(text) or (type(text).__name__ if isinstance(text, Exception) else "")
    line = " ".join(without_secrets(said).split()).encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= most else line[: most - 4].rsplit(" ", 1)[0] + " ..."

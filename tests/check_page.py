"""Looks whether a page that is to be published names this machine: its paths, its user, its host."""

import base64
import getpass
import platform
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORDINARY = ("root", "runner", "user", "admin", "test")  # users whose names are words, too
SHORTEST = 6  # characters of a name that is looked for in embedded files


def names_of_this_machine(page: str, *folders: Path) -> list[str]:
    """The names that the text of a page or a file embedded in it has; of folders, also of these."""
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    embedded = [base64.b64decode(part) for part in re.findall(r"base64,([A-Za-z0-9+/]+={0,2})", page)]
    wanted = [*map(str, (ROOT, *folders)), f"{Path.home()}/", platform.node()]
    wanted += [name for name in (getpass.getuser(),) if name not in ORDINARY]
    return [name for name in wanted if _in(name, text) or any(_in(name, part) for part in embedded)]


def _in(name: str, content: str | bytes) -> bool:
    """Whether a text or a file holds a name. In a file, two or three letters would be there by chance."""
    if isinstance(content, bytes):
        return len(name) >= SHORTEST and name.encode() in content
    end = r"(?!\w)" if name[-1].isalnum() else ""
    return re.search(rf"(?<!\w){re.escape(name)}{end}", content) is not None


if __name__ == "__main__":
    found = names_of_this_machine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if found:
        sys.exit(f"condgen: {sys.argv[1]} must not be published: it names {', '.join(found)}")

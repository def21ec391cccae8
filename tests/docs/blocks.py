"""Code blocks of the pages: README, docs/ and the README files of recipes."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("configs/*/*.md"))]
NEEDS = "# needs:"


class Block(NamedTuple):
    """A fenced block: where it stands, its language, the rest of its first line, and its text."""

    where: str
    language: str
    title: str
    text: str

    @property
    def needs(self):
        """What it cannot run without, beside two CPU cores and this repository; None for nothing."""
        first = self.text.lstrip().partition("\n")[0]
        return first[len(NEEDS) :].strip() if first.startswith(NEEDS) else None

    def commands(self):
        """The words of each command, without comments, variables before it, and what a shell does around it."""
        lines = self.text.replace("\\\n", " ").splitlines()
        lines = [re.sub(r"\$\(\(.*?\)\)", "0", line) for line in lines]
        lines = [re.sub(r"^(for|done).*|(; wait|&)$", "", line.strip()) for line in lines]
        split = [shlex.split(line, comments=True) for line in lines]
        bare = [words[next((i for i, w in enumerate(words) if not re.match(r"[A-Z_]+=", w)), 0) :] for words in split]
        return [words for words in bare if words]


def blocks(page):
    """All fenced blocks of a page, in order."""
    found, inside, start = [], None, 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside, start, (language, _, title) = [], number, line[3:].partition(" ")
            else:
                where = f"{page.relative_to(ROOT)}:{start}"
                found.append(Block(where, language, title, "\n".join(inside) + "\n"))
                inside = None
        elif inside is not None:
            inside.append(line)
    assert inside is None, f"{page}: a block that does not end"
    return found

"""The examples in the documentation: each block of code, by its document and heading."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

import dorrit

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Snippet:
    """One block of code.

    Attributes:
        document: The path of its file, from the root of the repository.
        heading: What it stands under.
        language: As its fence says; "console" for an indented block, "" for other fences.
        text: The code.
        line: Where it begins.
    """

    document: str
    heading: str
    language: str
    text: str
    line: int

    def run(self, **names: Any) -> dict[str, Any]:
        """Execute it; return its globals."""
        namespace: dict[str, Any] = {"__name__": "snippet", **names}
        # Errors name the document and the line.
        code = compile("\n" * self.line + self.text, ROOT / self.document, "exec")
        exec(code, namespace)
        return namespace

    def app(self) -> dorrit.Server:
        """Execute it; return the server that it defines."""
        app = self.run()["app"]
        assert isinstance(app, dorrit.Server)
        return app


def documents() -> list[str]:
    """The documents that are written by hand, as paths from the root of the repository."""
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def snippets(document: str, language: str | None = None) -> list[Snippet]:
    """Return the blocks of a document, in order; those of one language only, if it is given."""
    return [each for each in _snippets(document) if language is None or each.language == language]


def snippet(document: str, heading: str, language: str = "python") -> Snippet:
    """Return the one block of a language under a heading."""
    (found,) = (each for each in snippets(document, language) if each.heading == heading)
    return found


def _snippets(document: str) -> Iterator[Snippet]:
    heading = ""
    tokens = MarkdownIt().parse((ROOT / document).read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = token.content
        elif token.type in ("fence", "code_block"):
            assert token.map is not None
            # What is indented is to be typed; a fence without a language is a drawing.
            language = token.info.strip() if token.type == "fence" else "console"
            line = token.map[0] + (token.type == "fence")
            yield Snippet(document, heading, language, token.content, line)

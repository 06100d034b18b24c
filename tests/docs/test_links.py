"""Links within the documentation lead somewhere."""

import re

import pytest
from markdown_it import MarkdownIt

from docs.make_reference import anchor
from tests.docs.snippets import ROOT, documents

PAGES = [*documents(), *(str(p.relative_to(ROOT)) for p in (ROOT / "docs/reference").glob("*.md"))]


def anchors(document: str) -> set[str]:
    """What a link may name after ``#``."""
    text = (ROOT / document).read_text()
    tokens = MarkdownIt().parse(text)
    headings = [
        token.content
        for before, token in zip([None, *tokens], tokens, strict=False)
        if before is not None and before.type == "heading_open"
    ]
    return {anchor(heading) for heading in headings} | set(re.findall(r'<a id="(\w+)">', text))


def links(document: str) -> set[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / document).read_text())
    inline = [child for token in tokens for child in token.children or []]
    return {str(token.attrs["href"]) for token in inline if token.type == "link_open"}


@pytest.mark.parametrize("document", sorted(PAGES))
def test_a_link_leads_somewhere(document: str) -> None:
    wrong = []
    for link in links(document):
        if link.startswith("http"):
            continue
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        found = target.resolve().exists()
        if found and fragment:
            found = fragment in anchors(str(target.resolve().relative_to(ROOT)))
        if not found:
            wrong.append(link)
    assert wrong == []


def test_the_pages_of_the_documentation_have_links() -> None:
    assert {"tutorial.md", "reference/README.md"} <= links("docs/how-to.md")
    assert "#connectiondropped" in links("docs/reference/server.md")

"""Each function, method and class in src has a caller in src, or is the library's interface."""

import inspect
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import dorrit
import dorrit.testing

SRC = Path(__file__).parents[1] / "src"

DEFINITION = re.compile(
    r"""
    ^[ \t]*
    # `cdef int x = f(` calls; the name of an enumeration need not be used.
    (?: (?:async[ ])?def | (?:cdef[ ])?class | cp?def[ ](?!enum[ ])[^=(\n]*? )
    [ \t*](\w+)[ \t]*[(:\[]
    """,
    re.MULTILINE | re.VERBOSE,
)
WORD = re.compile(r"[A-Za-z_]\w*")

CALLED_FROM_OUTSIDE = {
    "_leave": "atexit",
    "emit": "logging",
    "log_message": "http.server",
    "meaning": "users, of a CloseCode",
    "cr_suspended": "inspect and asyncio, of a coroutine",
    "on_header": "httptools",
    "on_headers_complete": "httptools",
    "transitions": "docs/make_life.py",
}
"""What users, Python or a package calls by its name."""


def interface() -> Iterator[str]:
    """What users import, and the members of its classes."""
    for module in (dorrit, dorrit.testing):
        for name in module.__all__:
            yield name
            found = getattr(module, name)
            if inspect.isclass(found):
                yield from dir(found)


def code_of(text: str) -> str:
    """The text without comments and docstrings, with its lines; other strings may name a call."""
    kept: list[str] = []
    begins_statement = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.NL, tokenize.DEDENT}:
            continue
        if token.type == tokenize.INDENT:
            kept.append(token.string)
        elif token.type == tokenize.NEWLINE:
            kept.append("\n")
        elif not (token.type == tokenize.STRING and begins_statement):
            kept.append(f"{token.string} ")
        begins_statement = token.type in {tokenize.NEWLINE, tokenize.INDENT}
    return "".join(kept)


def without_callers(sources: Mapping[str, str]) -> dict[str, str]:
    """The names that are defined and occur nowhere else, each with its file."""
    defined: dict[str, str] = {}
    definitions: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for path, text in sources.items():
        code = code_of(text)
        for name in DEFINITION.findall(code):
            definitions[name] += 1
            defined[name] = path
        words.update(WORD.findall(code))
    return {
        name: path
        for name, path in defined.items()
        if words[name] <= definitions[name] and not re.fullmatch("__.*__", name)
    }


def test_everything_has_a_caller() -> None:
    sources = {
        str(path.relative_to(SRC)): path.read_text()
        for suffix in ("py", "pyx", "pxd")
        for path in SRC.rglob(f"*.{suffix}")
    }
    found = without_callers(sources)
    known = {*interface(), *CALLED_FROM_OUTSIDE}
    assert {name: path for name, path in found.items() if name not in known} == {}
    assert set(CALLED_FROM_OUTSIDE) - set(found) == set(), "these have a caller"


def test_what_nothing_calls_is_found_in_python_and_in_cython() -> None:
    sources = {
        "a.py": '"""Says unused."""\n\ndef unused() -> None:\n    used()  # not unused\n\n\n'
        'class Used:\n    """Uses unused."""\n\n    async def alone(self) -> None: ...\n',
        "b.pyx": "from a import Used\ncdef int x = used(3)\n"
        "cdef inline int lonely(int x) except -1:\n    return x\n"
        "def used(x): return Used(\n    'lonely'\n    if x else None)\n",
        "b.pxd": "cdef int deserted(int x) except -1\ncdef class Table:\n    cdef void *memory\n",
    }
    assert without_callers(sources) == {
        "unused": "a.py",
        "alone": "a.py",
        "deserted": "b.pxd",
        "Table": "b.pxd",
    }

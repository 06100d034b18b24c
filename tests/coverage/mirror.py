"""Which tests are a module's own: those of its name in the mirror of the source, or as mirror.toml
says."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "dorrit"
TESTS = ROOT / "tests"
LIST = Path(__file__).parent / "mirror.toml"

CODE = {".py", ".pyx", ".pxd", ".c"}


def modules() -> list[str]:
    """All files with code, by their paths in the package; a declaration alone is no code."""
    paths = [path for path in sorted(SOURCE.rglob("*")) if path.suffix in CODE]
    return [path.relative_to(SOURCE).as_posix() for path in paths if has_code(path)]


def has_code(path: Path) -> bool:
    """Whether anything in it could be reached: a .pxd has code only if it has inline functions."""
    text = path.read_text()
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text)) is None or len(ast.parse(text).body) > 1
    return path.suffix != ".pxd" or " inline " in text


def of_name(module: str) -> str:
    """The path, in tests, that the mirror has for a module."""
    path = Path(module)
    stem = path.parent.name if path.stem == "__init__" else path.stem.strip("_")
    return (path.parent / f"test_{stem or 'package'}.py").as_posix()


def own_tests(text: str | None = None) -> dict[str, list[str]]:
    """The tests of each module, by their paths in tests: that of its name, and what the list says.

    Args:
        text: The list; None for that of the project. A name that ends with "/" is that of a folder,
            and stands for all modules in it.

    Raises:
        ValueError: The list says what is not so, or is not needed.
    """
    known = modules()
    listed: dict[str, list[str]] = {}
    for name, tests in tomllib.loads(LIST.read_text() if text is None else text).items():
        inside = [module for module in known if module.startswith(name)]
        if name.endswith("/") and inside:
            for module in inside:
                listed[module] = [test for test in tests if test != of_name(module)]
        else:
            listed[name] = tests
    for module, tests in listed.items():
        if module not in known:
            raise ValueError(f"mirror.toml: there is no module {module}")
        for test in tests:
            if not (TESTS / test).is_file():
                raise ValueError(f"mirror.toml: {module}: there is no tests/{test}")
            if test == of_name(module):
                raise ValueError(f"mirror.toml: {module} has tests/{test} by its name")
    return {
        module: [
            *([of_name(module)] if (TESTS / of_name(module)).is_file() else []),
            *listed.get(module, []),
        ]
        for module in known
    }

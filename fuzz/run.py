"""One fuzzer under atheris: python -m fuzz.run TARGET [folder or option of libFuzzer ...]."""

import importlib
import sys

import atheris


def main() -> None:
    """Fuzz until an input has another outcome than those allowed, or an option says stop."""
    target = sys.argv[1]
    with atheris.instrument_imports(include=["dorrit.protocol"]):
        module = importlib.import_module(f"fuzz.{target}")
    atheris.Setup([target, *sys.argv[2:]], module.fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

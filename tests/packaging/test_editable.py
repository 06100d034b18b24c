"""The virtual environment of a checkout has links to what is edited and compiled."""

import importlib.metadata
import importlib.util
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "packaging" / "editable.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("editable", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


editable = loaded()


def test_all_that_is_imported_is_what_is_edited_and_compiled() -> None:
    site = Path(sysconfig.get_path("platlib"))
    links = editable.wanted()
    assert links[Path("dorrit/errors.py")] == ROOT / "src" / "dorrit" / "errors.py"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = [place for place in links if place.name.endswith(suffix)]
    assert len(compiled) > 15
    assert {place: (site / place).readlink() for place in links} == links


def test_pip_knows_of_each_file() -> None:
    files = importlib.metadata.files("dorrit")
    assert files is not None
    assert [str(file) for file in files if not Path(str(file.locate())).exists()] == []
    assert {str(place) for place in editable.wanted()} <= {str(file) for file in files}


def test_links_are_made_changed_and_removed(tmp_path: Path) -> None:
    source, other = tmp_path / "source.py", tmp_path / "other.py"
    package = tmp_path / "dorrit"
    package.mkdir()
    (package / "copied.py").write_text("as pip installed it\n")
    (package / "moved.py").symlink_to(other)
    (package / "gone.py").symlink_to(other)
    (package / "kept.txt").write_text("whatever else is there\n")
    names = ("copied.py", "moved.py", "api/new.py")
    editable.link(tmp_path, {Path("dorrit", name): source for name in names})
    found = {
        str(path.relative_to(package)): path.readlink() if path.is_symlink() else None
        for path in package.rglob("*")
        if not path.is_dir()
    }
    assert found == {**dict.fromkeys(names, source), "kept.txt": None}


def test_no_server_has_to_compile_what_it_imports() -> None:
    site = Path(sysconfig.get_path("platlib"))
    modules = [site / place for place in editable.wanted() if place.suffix == ".py"]
    assert len(modules) > 100
    stale = []
    for module in modules:
        bytecode = Path(importlib.util.cache_from_source(str(module)))
        # As importlib compares them: a header of 16 bytes has the time and the size of the source.
        found = bytecode.read_bytes()[8:16] if bytecode.exists() else b""
        status = module.stat()
        expected = struct.pack("<II", int(status.st_mtime), status.st_size)
        if found != expected:
            stale.append(str(module))
    assert stale == []


def test_what_was_installed_under_another_name_goes_and_the_list_has_what_is_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "dorrit").mkdir()
    for name in ("dorrit/before.py", "dorrit/now.py", "dorrit/somebody_elses.py", "other.py"):
        (tmp_path / name).touch()
    listed = tmp_path / "RECORD"
    listed.write_text("dorrit/before.py,sha256=x,1\ndorrit/now.py,sha256=y,2\nother.py,,\n")
    editable.record(tmp_path, listed, {Path("dorrit/now.py"): tmp_path})
    assert listed.read_text() == "dorrit/now.py,,\nother.py,,\n"
    left = sorted(path.name for path in tmp_path.rglob("*.py"))
    assert left == ["now.py", "other.py", "somebody_elses.py"]


def test_what_was_installed_otherwise_is_left_alone(tmp_path: Path) -> None:
    # An interpreter of another environment, which has no dorrit at all.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    python = tmp_path / "bin" / "python"
    ran = subprocess.run([python, PROGRAM], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")

"""What is not installed is named, with the extra that has it."""

import sys

import pytest

from csbrnn.errors import MissingDependencyError
from csbrnn.optional import needed_for


def test_the_package_that_is_missing_is_named_and_not_the_one_asked_for(monkeypatch, tmp_path):
    (tmp_path / "asked_for.py").write_text("import needed_by_it.part")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = (
        r"^a picture needs needed_by_it, which is not installed: pip install 'csbrnn\[study\]'$"
    )
    with pytest.raises(MissingDependencyError, match=message), needed_for("a picture", "study"):
        import asked_for  # noqa: F401


def test_a_module_of_ours_that_is_missing_is_a_defect_and_stays_one():
    with pytest.raises(ModuleNotFoundError) as caught, needed_for("a picture", "study"):
        import csbrnn.no_such_module  # noqa: F401
    assert not isinstance(caught.value, MissingDependencyError)


def test_late_names_are_imported_once(monkeypatch, tmp_path):
    folder = tmp_path / "late_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from csbrnn.optional import late_names\n"
        "__getattr__ = late_names(__name__, {'number': 'part', 'part': 'part', 'gone': 'lost'})"
    )
    (folder / "part.py").write_text("number = object()")
    (folder / "lost.py").write_text("import needed_by_lost")
    monkeypatch.syspath_prepend(str(tmp_path))
    import late_package

    assert "number" not in vars(late_package)
    assert late_package.number is late_package.number is late_package.part.number
    assert "number" in vars(late_package)
    assert late_package.part is sys.modules["late_package.part"]
    with pytest.raises(AttributeError, match="module 'late_package' has no attribute 'nothing'"):
        _ = late_package.nothing
    with pytest.raises(MissingDependencyError, match=r"^late_package\.gone needs needed_by_lost,"):
        _ = late_package.gone

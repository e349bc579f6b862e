"""`golden`: compares text with a file; ``pytest tests/compiler --update-golden`` rewrites it."""

from pathlib import Path

import pytest

_GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request):
    def check(name, text):
        path = _GOLDEN / name
        # The option is unknown when pytest was started above this folder.
        if request.config.getoption("--update-golden", default=False):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name}: see --update-golden"

    return check

"""The documents say what the result files and the package say."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tables_come_from_the_committed_results():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_architecture_names_every_room():
    rooms = {p.parent.name for p in ROOT.glob("src/csbrnn/*/__init__.py")}
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert not [room for room in rooms if f"`{room}/`" not in text]

import subprocess
import sys


def test_peers_and_printing_are_imported_only_when_needed():
    code = "import sys, csbrnn.bench; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"torch", "onnx", "onnxruntime", "rich"} & set(modules)

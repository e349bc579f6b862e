"""What a measurement depends on beside the code measured: the machine and the software."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

__all__ = ["cpu_ids", "describe_environment", "last_level_cache_nbytes", "usable_cpus"]

_PACKAGES: Final = ("csbrnn", "numpy", "torch", "onnx", "onnxruntime", "openvino")

#: Thread settings and the like that change what libraries do.
_VARIABLES: Final = re.compile(r"(OMP|GOMP|KMP|MKL|OPENBLAS|ORT|ONEDNN|DNNL|CSBRNN)_\w+")

#: x86 and Arm feature flags that kernels are chosen by.
_ISA: Final = re.compile(
    r"avx|avx2|fma|f16c|avx_vnni|avx512(f|bw|vl|dq|vnni|_vnni|_bf16|_fp16)|amx_\w+"
    r"|asimd|asimddp|bf16|i8mm|sve2?"
)

_CPU: Final = Path("/sys/devices/system/cpu")


def describe_environment() -> dict[str, Any]:
    """The machine and the software, as JSON-able values; what can't be found out is None."""
    return {
        "cpu": _cpu_model(),
        "cpus_usable": usable_cpus(),
        "cpus": os.cpu_count(),
        "caches": _caches(),
        "isa": _isa(),
        "governor": _read(_CPU / "cpu0/cpufreq/scaling_governor"),
        "load_average": _load(),
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "compiler": _output("cc", "--version"),
        "git_commit": _git_commit(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if _VARIABLES.fullmatch(k)},
    }


def usable_cpus() -> int:
    """How many CPUs this process may run on."""
    return len(cpu_ids())


def cpu_ids() -> list[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def last_level_cache_nbytes() -> int:
    """Size of the last-level cache; 32 MiB where the system doesn't tell."""
    return max((cache["nbytes"] for cache in _caches()), default=32 << 20)


def _cpu_model() -> str | None:
    match = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return match[1] if match else platform.processor() or None


def _isa() -> list[str]:
    cpuinfo = _read(Path("/proc/cpuinfo")) or ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return sorted(flag for flag in match[1].split() if _ISA.fullmatch(flag)) if match else []


def _caches() -> list[dict[str, Any]]:
    """Caches of the first CPU, as Linux lists them."""
    units = {"K": 1 << 10, "M": 1 << 20, "": 1}
    found = []
    for index in sorted(_CPU.glob("cpu0/cache/index*")):
        match = re.fullmatch(r"(\d+)([KM]?)", _read(index / "size") or "")
        if match:
            found.append(
                {
                    "level": int(_read(index / "level") or 0),
                    "type": _read(index / "type"),
                    "nbytes": int(match[1]) * units[match[2]],
                    "shared_by": _read(index / "shared_cpu_list"),
                }
            )
    return found


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the checkout that this file lies in, with "+" where tracked files differ."""
    here = str(Path(__file__).resolve().parent)
    # A site-packages inside somebody's repository is not a checkout of csbrnn.
    if _output("git", "-C", here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = _output("git", "-C", here, "rev-parse", "HEAD")
    changed = _output("git", "-C", here, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if commit and changed else commit


def _output(*command: str) -> str | None:
    """First line that a command prints, or None if it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.partition("\n")[0] or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None

"""Folders of recordings: which files there are, what they say, and which are for testing."""

from __future__ import annotations

import hashlib
import re
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from csbrnn.errors import ArgumentError

__all__ = ["Recording", "digest", "find_recordings", "read_wav"]

_TESTING_LIST = "testing_list.txt"
_FSDD = re.compile(r"(?P<label>\d)_(?P<speaker>\w+)_(?P<index>\d+)\.wav")
_FSDD_TEST = 5
"""Indices below it are for testing: the corpus's own split."""


@dataclass(frozen=True)
class Recording:
    """One file of a corpus.

    Attributes:
        path: The file.
        label: What is said.
        speaker: Who says it.
        test: Whether it is held out.
    """

    path: Path
    label: str
    speaker: str
    test: bool


def find_recordings(folder: Path) -> tuple[Recording, ...]:
    """Lists a corpus, in the order of its file names.

    Two layouts are known: that of the Free Spoken Digit Dataset, ``{digit}_{speaker}_{index}.wav``
    with indices 0 to 4 held out; and that of Speech Commands, a folder for each word with
    ``{speaker}_nohash_{n}.wav``, and a ``testing_list.txt`` of those held out. (Folders whose name
    begins with an underscore, as that of the noises, are passed over.)

    Raises:
        ArgumentError: The folder holds neither, or nothing held out, or nothing to train on.
    """
    if not folder.is_dir():
        raise ArgumentError(
            f"{folder}: must be a folder of recordings; say where it is with --data, or with data "
            "in the recipe's [task]"
        )
    if (folder / _TESTING_LIST).is_file():
        found = _speech_commands(folder)
    else:
        matches = [(path, _FSDD.fullmatch(path.name)) for path in sorted(folder.glob("*.wav"))]
        found = tuple(
            Recording(path, match["label"], match["speaker"], int(match["index"]) < _FSDD_TEST)
            for path, match in matches
            if match
        )
    for test, what in ((False, "to train on"), (True, "to test on")):
        if not any(recording.test is test for recording in found):
            raise ArgumentError(
                f"{folder}: holds no recordings {what}; files must be named "
                f"{{digit}}_{{speaker}}_{{index}}.wav, or lie in a folder for each word beside a "
                f"{_TESTING_LIST}, which names some that are there. Say where they are with --data"
            )
    return found


def _speech_commands(folder: Path) -> tuple[Recording, ...]:
    listed = folder / _TESTING_LIST
    try:
        held_out = set(listed.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{listed}: can't be read as text: {error}") from None
    return tuple(
        Recording(
            path,
            path.parent.name,
            path.name.partition("_")[0],
            path.relative_to(folder).as_posix() in held_out,
        )
        for path in sorted(folder.glob("*/*.wav"))
        if not path.parent.name.startswith("_")
    )


def read_wav(path: Path, *, rate: int | None = None) -> tuple[npt.NDArray[np.float32], int]:
    """Reads a mono WAV file of 16-bit integers.

    Args:
        path: The file.
        rate: Samples a second that it must have; None for any.

    Returns:
        The samples, in [-1, 1), and their rate in Hz. Shape: (samples,).

    Raises:
        ArgumentError: The file can't be read, or is of another kind.
    """
    try:
        with wave.open(str(path), "rb") as file:
            kind = (file.getnchannels(), file.getsampwidth())
            found, data = file.getframerate(), file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        why = str(error) or "it ends too soon"
        raise ArgumentError(f"{path}: can't be read as WAV: {why}") from None
    if kind != (1, 2):
        raise ArgumentError(
            f"{path}: must have one channel of 16-bit samples, not {kind[0]} of {8 * kind[1]}-bit"
        )
    if rate not in (None, found):
        raise ArgumentError(
            f"{path}: has {found} samples a second, where the others have {rate}: make all alike"
        )
    if not data or len(data) % 2:
        raise ArgumentError(f"{path}: must hold whole samples, one at least; is it damaged?")
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768), found


def digest(recordings: tuple[Recording, ...]) -> str:
    """A text that changes if a recording is added, renamed, changed or held out."""
    all_of_it = hashlib.sha256()
    for r in recordings:
        place = r.path.parent.name if r.path.parent.name == r.label else ""
        all_of_it.update(f"{place}/{r.path.name} {r.test}\n".encode())
        try:
            all_of_it.update(hashlib.sha256(r.path.read_bytes()).digest())
        except OSError as error:
            raise ArgumentError(f"{r.path}: can't be read: {error.strerror}") from None
    return all_of_it.hexdigest()[:16]

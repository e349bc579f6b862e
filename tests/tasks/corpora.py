"""Small corpora of sounds: each digit a tone of its own."""

import wave

import numpy as np

RATE = 8000


def tone(digit, seconds=0.2, level=0.3):
    time = np.arange(round(seconds * RATE)) / RATE
    return level * np.sin(2 * np.pi * 300 * (digit + 1) * time)


def write_wav(path, samples, channels=1, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * np.asarray(samples)).astype("<i2").tobytes())


def write_digits(folder, speakers=("ann", "bob"), indices=(0, 1, 5, 6)):
    """A folder as the Free Spoken Digit Dataset has it."""
    for digit in range(10):
        for speaker in speakers:
            for index in indices:
                write_wav(folder / f"{digit}_{speaker}_{index}.wav", tone(digit))
    return folder

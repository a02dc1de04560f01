"""Speak sentences with espeak-ng, in a process of its own: JSON lines in, 16-bit samples out.

``python -m ume.corpora.espeak_worker`` reads requests such as ``{"text": "hello", "voice":
"en-us+f1", "pitch": 50, "range": 50, "rate": 160, "timbre": null}`` from standard input; a
timbre is that of :mod:`ume.corpora.voices`. It writes, little-endian, the sampling rate once
(uint32), then for each request the number of samples (uint32) and the samples (int16). espeak-ng is
GPL software: only this process loads it, and ``ume`` never imports this module.
"""

import ctypes
import json
import re
import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import List, Sequence, Tuple

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: synthesis returns when all samples are delivered
UTF8_SSML = 0x11  # espeakCHARS_UTF8 | espeakSSML
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}  # espeak_PARAMETER
VOLUME, QUIETER = 2, 60  # at the usual 100 the loudest voices clip

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main() -> None:
    """Serve requests until standard input ends; any failure ends the process with a message."""
    try:
        import espeakng_loader
    except ImportError:
        raise SystemExit("espeakng-loader is not installed; run utils/setup.sh") from None
    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        copy_data(Path(str(espeakng_loader.get_data_path())), data)
        serve(library, data)


def serve(library: ctypes.CDLL, data: Path) -> None:
    """Speak what standard input asks for, with the voices in ``data``, which may be written to."""
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), 0)
    if rate <= 0:
        raise SystemExit(f"espeak-ng found no voices in {data}; run utils/setup.sh --force")
    library.espeak_ng_SetRandSeed(1)  # of breath noise; else it is the time of day
    chunks: List[bytes] = []

    @CALLBACK
    def collect(samples, count, _events):  # type: ignore[no-untyped-def]
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    sys.stdout.buffer.write(struct.pack("<I", rate))
    for line in sys.stdin:
        request = json.loads(line)
        accent, _, name = request["voice"].partition("+")
        variant = data / "voices" / "!v" / name
        if not variant.is_file():  # espeak-ng itself ignores an unknown one
            raise SystemExit(f"espeak-ng has no voice {request['voice']}")
        if request["timbre"]:
            text = variant.read_text(errors="replace")
            variant = variant.with_name("changed")
            variant.write_text(change_timbre(text, **request["timbre"]))
        if library.espeak_SetVoiceByName(f"{accent}+{variant.name}".encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {request['voice']}")
        for name, number in PARAMETERS.items():
            library.espeak_SetParameter(number, request[name], 0)
        library.espeak_SetParameter(VOLUME, QUIETER, 0)
        text = request["text"].encode()
        chunks.clear()
        if library.espeak_Synth(text, len(text) + 1, 0, 0, 0, UTF8_SSML, None, None) != 0:
            raise SystemExit(f"espeak-ng could not speak {request['text']!r}")
        samples = b"".join(chunks)
        sys.stdout.buffer.write(struct.pack("<I", len(samples) // 2) + samples)
        sys.stdout.buffer.flush()


def copy_data(source: Path, target: Path) -> None:
    """espeak-ng's data under ``target``, where voices can be added: all but those are links."""
    for path in source.iterdir():
        if path.name == "voices":
            shutil.copytree(path, target / path.name)
        else:
            (target / path.name).symlink_to(path)


def change_timbre(
    variant: str,
    formants: Sequence[Sequence[float]],
    voicing: float,
    tone: Sequence[Tuple[int, int]],
) -> str:
    """The text of a variant with its formants and voicing multiplied, and another tone if given.

    >>> change_timbre("name x\\nformant 0 80 100 90\\n", [(1.1, 0.5, 2)], 1.5, [(600, 255)])
    'name x\\nformant 0 88 50 180\\nvoicing 150\\ntone 600 255\\n'
    """
    lines = variant.splitlines()
    for number, factors in enumerate(formants):
        values = take(lines, f"formant {number}")
        values += [100.0] * (3 - len(values))  # percent of the accent's own
        values = [value * factor for value, factor in zip(values, (*factors, 1.0))]
        lines.append(setting(f"formant {number}", values))
    (percent,) = take(lines, "voicing") or [100.0]
    lines.append(setting("voicing", [percent * voicing]))
    if tone:
        take(lines, "tone")
        lines.append(setting("tone", [value for point in tone for value in point]))
    return "\n".join(lines) + "\n"


def take(lines: List[str], name: str) -> List[float]:
    """The values of a setting, which is removed from ``lines``; the last one holds."""
    pattern = re.compile(r"\s*" + name.replace(" ", r"\s+") + r"\s+(\d.*)")
    found = [line for line in lines if pattern.match(line)]
    lines[:] = [line for line in lines if line not in found]
    return [float(value) for value in pattern.sub(r"\1", found[-1]).split()] if found else []


def setting(name: str, values: Sequence[float]) -> str:
    """One line of a variant."""
    return f"{name} " + " ".join(f"{value:.0f}" for value in values)


if __name__ == "__main__":
    main()

"""Speak sentences with espeak-ng, in a process of its own: JSON lines in, 16-bit samples out.

``python -m ume.corpora.espeak_worker`` reads requests such as ``{"text": "hello", "voice":
"en-us+f1", "pitch": 50, "range": 50, "rate": 160}`` from standard input. It writes, little-endian,
the sampling rate once (uint32), then for each request the number of samples (uint32) and the
samples (int16). espeak-ng is GPL software: only this process loads it, and ``ume`` never imports
this module.
"""

import ctypes
import json
import struct
import sys
from pathlib import Path
from typing import List

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
    data = str(espeakng_loader.get_data_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
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
        variant = request["voice"].partition("+")[2]  # espeak-ng itself ignores an unknown one
        known = Path(data, "voices", "!v", variant).exists()
        if not known or library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
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


if __name__ == "__main__":
    main()

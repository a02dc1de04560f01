"""Frames of the streams of a hypothesis folder: ``ctc/<job>.safetensors`` and the like."""

from pathlib import Path
from typing import Any, Dict

import torch
from safetensors import SafetensorError, safe_open

from ume.errors import UmeError
from ume.files import PathLike, existing


class Shards:
    """The streams ``<recording>_<k>`` of all shards, each (F', ``width``).

    ``frames`` maps every stream to its number of frames; ``frame_shift`` is in seconds.

    Raises:
        UmeError: no shards, a shard that cannot be read, a stream that comes twice, or shards
            that differ in frame shift.
    """

    def __init__(self, folder: PathLike, width: int) -> None:
        self.width = width
        self.frames: Dict[str, int] = {}
        self._shards: Dict[str, Any] = {}
        frame_shifts = set()
        paths = sorted(existing(folder, made_by="ume infer").glob("*.safetensors"))
        if not paths:
            raise UmeError(f"{folder} holds no *.safetensors; ume infer makes them")
        for path in paths:
            shard = self._open(path)
            frame_shifts.add(float(shard.metadata()["frame_shift"]))
            for stream in shard.keys():
                if stream in self.frames:
                    raise UmeError(f"{path} has stream {stream} again; run ume infer again")
                self.frames[stream] = self._length(path, stream, shard)
                self._shards[stream] = shard
        if len(frame_shifts) > 1:
            raise UmeError(f"{folder} mixes frame shifts {frame_shifts}; run ume infer again")
        self.frame_shift = frame_shifts.pop()

    @staticmethod
    def _open(path: Path) -> Any:
        try:
            shard = safe_open(str(path), framework="pt")
        except SafetensorError:
            raise UmeError(f"{path} is truncated or not safetensors; run ume infer again") from None
        if "frame_shift" not in (shard.metadata() or {}):
            raise UmeError(f"{path} does not say its frame_shift; run ume infer again")
        return shard

    def _length(self, path: Path, stream: str, shard: Any) -> int:
        shape = shard.get_slice(stream).get_shape()
        if len(shape) != 2 or shape[1] != self.width:
            raise UmeError(
                f"{path} has shape {tuple(shape)} for {stream}, not (frames, {self.width}); "
                "give the lang folder the model was trained with"
            )
        return shape[0]

    def __getitem__(self, stream: str) -> torch.Tensor:
        """The frames (F', width), float32; :class:`UmeError` if any is NaN or infinite."""
        frames = self._shards[stream].get_tensor(stream).float()
        if frames.isnan().any() or frames.isposinf().any():
            raise UmeError(f"stream {stream} has values that are NaN or infinite")
        return frames

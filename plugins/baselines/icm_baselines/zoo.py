"""CompressAI's published checkpoints as pipelines of ours."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icm_baselines.learned import Cheng2020AnchorCodec, ContextCodec, LearnedCodec, ScaleHyperpriorCodec
from icm_core import build, build_registry, parse_spec
from icm_core.errors import InputError, WeightsError
from icm_core.files import write_atomically
from icm_core.pipeline.weights import save

_MAX_BYTES = 1_000_000_000


def import_checkpoint(checkpoint: Path, spec: Path) -> None:
    """Write a checkpoint of CompressAI as a spec with its weights beside it, with sicmh-small's task networks behind.

    ``import_checkpoint(Path("bmshj2018-hyperprior-3-6d87be32.pth.tar"), Path("hyperprior-3.json"))`` writes
    ``hyperprior-3.json`` and ``hyperprior-3.codec.safetensors``; ``icm_core.load("hyperprior-3.json")`` loads them.
    Which of the three models it is, and how wide, is seen from the checkpoint. Weights are rounded to float16.

    Args:
        checkpoint: file of CompressAI's zoo, or a state dict that ``torch.save`` wrote. Only tensors are read from
            it, no objects.
        spec: the spec to write; its file's stem is the pipeline's name.

    Raises:
        InputError: ``spec`` is not a ``.json`` path, or cannot be written.
        SpecError: the file's stem is no name for a pipeline.
        WeightsError: the checkpoint is missing, damaged, holds objects, or is of another model.
    """
    if spec.suffix != ".json":
        raise InputError(f"{spec}: a spec's file ends with .json")
    codec = _read(checkpoint)
    weights = spec.with_suffix(".codec.safetensors")
    title = codec.name.partition(".")[2].replace("_", "-")
    # The task networks stay where they are, so that what is saved is the codec with the decoded picture behind it.
    picture = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}
    own = {"use": codec.name, "params": codec.params.model_dump(mode="json", exclude={"side"})}
    alone = parse_spec({"icm": 1, "name": spec.stem, "codec": own, "tasks": {"picture": picture}})
    data = {
        "icm": 1,
        "name": spec.stem,
        "description": f"CompressAI's {title}, and the task networks of sicmh-small on its decoded pictures",
        "extends": "jpeg-camvid",
        "codec": own,
        "weights": weights.name,
    }
    pipeline = build(alone, build_registry())
    pipeline.codec.load_state_dict(codec.state_dict())
    save(pipeline, {weights: ["codec."]}, max_bytes=_MAX_BYTES)
    write_atomically(spec, json.dumps(data, indent=2).encode() + b"\n")


def _read(path: Path) -> LearnedCodec:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file") from error
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: not a checkpoint of tensors alone: {str(error).splitlines()[0]}") from error
    state = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: it holds no state dict")
    from compressai.zoo.pretrained import load_pretrained  # slow to import

    try:
        return _filled(load_pretrained(dict(state)))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: it is none of bmshj2018-hyperprior, mbt2018 and cheng2020-anchor: {str(error).splitlines()[0]}"
        ) from error


def _filled(state: dict[str, Tensor]) -> LearnedCodec:
    """The codec whose weights a state dict of CompressAI holds."""
    from compressai.models import Cheng2020Anchor, JointAutoregressiveHierarchicalPriors, ScaleHyperprior

    model: Any
    codec: LearnedCodec
    if "g_a.0.conv1.weight" in state:
        model = Cheng2020Anchor.from_state_dict(state)
        codec = Cheng2020AnchorCodec(Cheng2020AnchorCodec.Params(n=model.N, side="picture"))
    elif "context_prediction.weight" in state:
        model = JointAutoregressiveHierarchicalPriors.from_state_dict(state)
        codec = ContextCodec(ContextCodec.Params(n=model.N, m=model.M, side="picture"))
    else:
        model = ScaleHyperprior.from_state_dict(state)
        codec = ScaleHyperpriorCodec(ScaleHyperpriorCodec.Params(n=model.N, m=model.M, side="picture"))
    codec.load_trained(model.state_dict())
    return codec

"""The model card of an exported pipeline, from the records of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icm_core.pipeline.pipeline import Pipeline
from icm_training.recipe import RecipeSpec

_HIDDEN = {"step", "loss", "lr", "gradient", "pictures/s", "data share", "forward share", "backward share"}


def model_card(pipe: Pipeline, recipe: RecipeSpec, record: Mapping[str, Any], weights: Sequence[str]) -> str:
    """A model card in Markdown, with the header that the Hugging Face hub reads.

    Args:
        pipe: the pipeline as it was exported.
        recipe: what trained it.
        record: see `icm_training.export.training_record`.
        weights: names of the files of weights.
    """
    name, spec = pipe.name, pipe.spec
    tasks = ", ".join(f"`{task}` ({pipe.task(task).head.kind})" for task in pipe.tasks)
    source = record.get("source") or {}
    commit = f", source {source['commit'][:12]}{' with changes' if source['changed'] else ''}" if source else ""
    packages = ", ".join(f"{package} {version}" for package, version in record["packages"].items())
    parameters = sum(parameter.numel() for parameter in pipe.parameters())
    return f"""---
library_name: icm
tags: [image-coding-for-machines, image-compression]
---

# {name}

{spec.description or "A pipeline for image coding for machines."}

    icm encode photo.jpg -m {name}.json -o coded
    icm decode coded/photo.icm -m {name}.json -o decoded

**Pipeline.** Codec `{spec.codec.use}`; tasks {tasks}; {_enhancement(pipe)}. {parameters:,} parameters in
{", ".join(f"`{file}`" for file in weights)} (float16, safetensors). Base layers carry the fingerprint
`{pipe.base_fingerprint.hex()}`: files of other weights are refused, never misread.

**Data.** {_data(recipe)}

**Training.** Recipe `{recipe.recipe}`, seed {recipe.seed}{commit}: `{record["command"]}`.
{packages}.

{_stages(record["stages"])}

**Results.** Not part of an export: measure with `icm evaluate {name}.json --data NAME:DIR`.
"""


def _enhancement(pipe: Pipeline) -> str:
    found = pipe.spec.enhancement
    return "no enhancement" if found is None else f"enhancement `{found.use}` over `{found.over}`"


def _data(recipe: RecipeSpec) -> str:
    trained = {s if isinstance(s, str) else s.name for stage in recipe.stages for f in stage.feeds for s in f.data}
    looked_at = {stage.validate_on.data for stage in recipe.stages if stage.validate_on is not None} - trained
    said = [f"`{recipe.data[name].use}`, {recipe.data[name].split} ({name})" for name in recipe.data if name in trained]
    text = "Trained on " + "; ".join(said) + "."
    if looked_at:
        text += " Looked at while training: " + ", ".join(sorted(looked_at)) + "."
    return text


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> str:
    rows = ["| stage | steps | minutes | device | pictures/s | at the end |", "|---|---|---|---|---|---|"]
    for name, stage in stages.items():
        end = ", ".join(f"{key} {value:.3g}" for key, value in stage["last"].items() if key not in _HIDDEN)
        speed = f"{stage['pictures_a_second']:.1f}" if "pictures_a_second" in stage else ""
        minutes = f"{stage['seconds'] / 60:.1f}"
        rows.append(f"| {name} | {stage['steps']} | {minutes} | {stage['device']} | {speed} | {end} |")
    return "\n".join(rows)

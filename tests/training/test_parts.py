"""Which parameters train: letters, paths, and everything else frozen."""

from __future__ import annotations

import pytest
from torch.nn.modules.batchnorm import _BatchNorm

from icm_core import Pipeline, Registry, build, parse_spec
from icm_core.errors import IcmError, SpecError
from icm_training.parts import groups_of, paths_of, prepare
from icm_training.recipe import TrainSpec


def train(*modules: str, **more: object) -> TrainSpec:
    return TrainSpec.model_validate({"modules": modules, "lr": 1e-3, **more})


@pytest.mark.parametrize(
    ("letter", "paths"),
    [
        ("A", ["codec"]),
        ("B", ["tasks.segmentation.adapter", "tasks.coarse.adapter"]),
        ("B.coarse", ["tasks.coarse.adapter"]),
        ("C", ["tasks.coarse.head"]),
        ("D", ["enhancement"]),
        ("codec.gain_h1", ["codec.gain_h1"]),
    ],
)
def test_the_papers_letters_are_modules(pipe: Pipeline, letter: str, paths: list[str]) -> None:
    assert paths_of(pipe, letter) == paths


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([train("codecs")], "unknown module 'codecs'; did you mean 'codec'"),
        ([train("B.seg")], "unknown task 'seg'; known: coarse, segmentation"),
        ([train("A"), train("codec")], r"^train\[1\]\.modules\[0\]: the module 'codec' is named twice"),
        ([train("tasks.segmentation.head.backbone", "tasks.segmentation.head.backbone")], "twice"),
        ([train("enhancement.gain", "D"), train("enhancement.gain.missing")], "unknown module"),
    ],
)
def test_a_part_that_is_not_there_or_twice_is_refused(pipe: Pipeline, groups: list[TrainSpec], says: str) -> None:
    with pytest.raises(IcmError, match=says):
        groups_of(pipe, groups)


def test_a_group_that_others_leave_nothing_of_is_refused(pipe: Pipeline) -> None:
    children = [f"codec.{name}" for name, _ in pipe.codec.named_children()]
    with pytest.raises(SpecError, match=r"^train\[0\]: A has no parameter of its own"):
        groups_of(pipe, [train("A"), train(*children)])


def test_modules_whose_names_begin_alike_are_apart(pipe: Pipeline) -> None:
    """The codec has `encoder`, `encoder_h1` and `encoder_h2`."""
    (group,) = groups_of(pipe, [train("codec.encoder")])
    assert group.names == [f"codec.encoder.{name}" for name, _ in pipe.codec.encoder.named_parameters()]
    prepare(pipe, [group])
    assert pipe.codec.encoder.training and not pipe.codec.encoder_h1.training


@pytest.mark.parametrize("letter", ["C", "D"])
def test_letters_of_the_enhancement_need_one(pipe: Pipeline, registry: Registry, letter: str) -> None:
    spec = pipe.spec.to_json()
    del spec["enhancement"]
    bare = build(parse_spec(spec), registry)
    with pytest.raises(SpecError, match=rf"^module {letter} belongs to the enhancement, and pipeline 'smoke' has none"):
        paths_of(bare, letter)


def test_a_single_parameter_is_a_path_too(pipe: Pipeline) -> None:
    name = "enhancement.gain.log2_gain"
    (group,) = groups_of(pipe, [train(name)])
    assert group.names == [name] and group.parameters[0] is pipe.get_parameter(name)


def test_what_is_frozen_may_train_from_now_on(pipe: Pipeline) -> None:
    pipe.requires_grad_(False)
    (group,) = groups_of(pipe, [train("D")])
    assert group.names == [name for name, _ in pipe.named_parameters() if name.startswith("enhancement.")]
    prepare(pipe, [group])
    assert {name for name, parameter in pipe.named_parameters() if parameter.requires_grad} == {*group.names}


def test_the_longest_path_wins(pipe: Pipeline) -> None:
    whole, gain = groups_of(pipe, [train("A"), train("codec.gain_h1", lr=0.1)])
    assert gain.names and all(name.startswith("codec.gain_h1.") for name in gain.names)
    assert not {*gain.names} & {*whole.names}
    assert {*gain.names, *whole.names} == {f"codec.{name}" for name, _ in pipe.codec.named_parameters()}
    gain_first, whole_last = groups_of(pipe, [train("codec.gain_h1", lr=0.1), train("A")])
    assert (gain_first.names, whole_last.names) == (gain.names, whole.names)


def test_batch_statistics_move_in_the_groups_that_say_so_alone(pipe: Pipeline) -> None:
    head = pipe.task("segmentation").head
    children = {
        name: child for name, child in head.named_children() if any(isinstance(m, _BatchNorm) for m in child.modules())
    }
    still, *moving = children
    paths = [f"tasks.segmentation.head.{name}" for name in moving]
    trained, frozen = train("D", *paths), train(f"tasks.segmentation.head.{still}", norm="frozen")
    for order in ([trained, frozen], [frozen, trained]):
        prepare(pipe, groups_of(pipe, order))
        for name, child in children.items():
            assert {m.training for m in child.modules() if isinstance(m, _BatchNorm)} == {name != still}


@pytest.mark.parametrize("norm", ["trained", "frozen"])
def test_prepared_for_training_what_no_group_names_is_frozen(pipe: Pipeline, norm: str) -> None:
    groups = groups_of(pipe.train(), [train("tasks.segmentation.head", norm=norm)])
    prepare(pipe, groups)
    for name, parameter in pipe.named_parameters():
        assert parameter.requires_grad == name.startswith("tasks.segmentation.head.")
    head = pipe.task("segmentation").head
    inside = {*head.modules()}
    assert not any(module.training for module in pipe.modules() if module not in inside)
    norms = [module for module in inside if isinstance(module, _BatchNorm)]
    assert norms and all(module.training == (norm == "trained") for module in norms)
    assert all(module.training for module in inside if not isinstance(module, _BatchNorm))

"""Data sets and losses with one mistake each: the check that is there for it finds it and says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from icm_core import InputError, Pipeline, build, build_registry, parse_spec, testing
from icm_core.interfaces import DataSet, Sample
from icm_core.kinds import Classification
from icm_core.testing import DataSetCase, Example, LossCase
from icm_core.training import Batch, Loss
from icm_tasks.kinds import Detection
from icm_training.batch import CodedBatch, Kept

CODEC = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}


class Numbers(DataSet):
    """Grey pictures of classes, without mistakes."""

    name: ClassVar[str] = "test.numbers"
    kind = "classification"

    def __init__(self, params: Any, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        if not (root / split).is_dir():
            raise InputError(f"no folder {root / split}")

    @property
    def labels(self) -> tuple[str, ...]:
        return ("one", "two")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Sample:
        return Sample(f"{self.split}/{number}", torch.full((3, 4, 5), number).byte(), torch.tensor(number % 2))


class Shuffled(Numbers):
    """Other pixels at every call."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, torch.randint(0, 256, (3, 40, 50)).byte(), found.target)


class Forgetting(Numbers):
    """Brighter pictures, but not in another process."""

    brighter = 0

    def __init__(self, params: Any, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self.brighter = 100

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "brighter"}

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture + self.brighter, found.target)


class Repeating(Numbers):
    """Two pictures of each name."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(f"{self.split}/{number % 2}", found.picture, found.target)


class Unlabelled(Numbers):
    """Classes without names."""

    @property
    def labels(self) -> tuple[str, ...]:
        return ()


class Nameless(Numbers):
    """A class without a name."""

    @property
    def labels(self) -> tuple[str, ...]:
        return ("one", "")


class Plain(Numbers):
    """Pictures that are said to have no targets."""

    kind = "pictures"

    @property
    def labels(self) -> tuple[str, ...]:
        return ()


class Located(Numbers):
    """Keys with the folder in them."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(str(self.root / found.key), found.picture, found.target)


class Floats(Numbers):
    """Pictures in [0, 1]."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture / 255, found.target)


class FromOne(Numbers):
    """Classes from 1."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture, found.target + 1)


class Anywhere(Numbers):
    """Looks at no folder."""

    def __init__(self, params: Any, root: Path, split: str) -> None:
        DataSet.__init__(self, params, root, split)


class Splitless(Numbers):
    """Looks at the folder, and not at the split."""

    def __init__(self, params: Any, root: Path, split: str) -> None:
        DataSet.__init__(self, params, root, split)
        if not root.is_dir():
            raise InputError(f"no folder {root}")


class Promising(Numbers):
    """A picture that there is not."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> Sample:
        if number == 4:
            raise IndexError("there are 4")
        return super().__getitem__(number)


class Growing(Numbers):
    """One more with every picture that was read."""

    read = 0

    def __len__(self) -> int:
        return 4 + self.read

    def __getitem__(self, number: int) -> Sample:
        self.read += 1
        return super().__getitem__(number)


class Unsure(Numbers):
    """Another class at every second call."""

    calls = 0

    def __getitem__(self, number: int) -> Sample:
        self.calls += 1
        found = super().__getitem__(number)
        return Sample(found.key, found.picture, torch.tensor((number + self.calls) % 2))


class Renaming(Numbers):
    """Another key at every call."""

    calls = 0

    def __getitem__(self, number: int) -> Sample:
        self.calls += 1
        found = super().__getitem__(number)
        return Sample(f"{found.key}-{self.calls}", found.picture, found.target)


class Flickering(Numbers):
    """Other pixels of the third picture at every call."""

    calls = 0

    def __getitem__(self, number: int) -> Sample:
        self.calls += 1
        found = super().__getitem__(number)
        return Sample(found.key, found.picture + self.calls * (number == 2), found.target)


class Flagged(Numbers):
    """True in place of a number."""

    ignore_index = True


class Labelled(Numbers):
    """Pictures without targets, and with labels."""

    kind = "pictures"

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture, None)


class Vague(Numbers):
    """Does not say what is missing."""

    def __init__(self, params: Any, root: Path, split: str) -> None:
        DataSet.__init__(self, params, root, split)
        if not (root / split).is_dir():
            raise InputError("there is no such folder")


class Long(Numbers):
    """Fifty pictures, the last of which is a float."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture / 255 if number == 49 else found.picture, found.target)


class Turned(Numbers):
    """Pictures with their channels last."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture.permute(1, 2, 0), found.target)


class Stacked(Numbers):
    """Pictures as batches of one."""

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture[None], found.target)


class Shouting(Numbers):
    """Named as nothing can be."""

    name: ClassVar[str] = "test.Numbers"


class Maps(Numbers):
    """Class maps of lying pictures, without mistakes."""

    kind = "segmentation"

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        return Sample(found.key, found.picture, torch.full((4, 5), number % 2).byte())


class Darkness(Loss):
    """How dark the coarse picture is, without mistakes."""

    name: ClassVar[str] = "test.darkness"

    def forward(self, batch: Batch) -> Tensor:
        return 1 - batch.output("coarse").flatten(1).mean(1)


class Summed(Darkness):
    """One value for the batch."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch).mean()


class Compared(Darkness):
    """Against the mean of the batch."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return found / found.mean()


class Leading(Darkness):
    """Against the first picture of the batch."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return found / found[:1].detach()


class Rooted(Darkness):
    """One parameter's gradient is that of a root at 0."""

    def forward(self, batch: Batch) -> Tensor:
        parameter = next(batch.pipe.codec.parameters())
        return super().forward(batch) + (0 * parameter.sum()).sqrt()


class Stopped(Darkness):
    """Of what no gradient passes through."""

    def forward(self, batch: Batch) -> Tensor:
        return 1 - batch.output("coarse").detach().flatten(1).mean(1)


class Unbounded(Darkness):
    """The logarithm of nothing."""

    def forward(self, batch: Batch) -> Tensor:
        return (super().forward(batch) * 0).log()


class Owning(Darkness):
    """Keeps what it is about."""

    def __init__(self, params: Any, pipe: Pipeline, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        self.head = pipe.task("coarse").head


class Standard(Darkness):
    """In units of the batch's spread, which a single picture has none of."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return found / found.detach().std()


class OfTheBase(Darkness):
    """Of the codec alone."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch).detach() + batch.coded().total_bits


class Moody(Darkness):
    """Another for pictures that stand behind others."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return found + (torch.arange(len(found)) == 2)


class Column(Darkness):
    """A value for each picture, one below the other."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch)[:, None]


class Whole(Darkness):
    """A whole number for each picture."""

    def forward(self, batch: Batch) -> Tensor:
        return (100 * super().forward(batch)).long()


class Zeroed(Darkness):
    """A gradient of zeros."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return 0 * found + found.detach()


class Second(Darkness):
    """Learns of all pictures but the first, without a mistake that can be seen."""

    def forward(self, batch: Batch) -> Tensor:
        found = super().forward(batch)
        return torch.cat([found[:1].detach(), found[1:]])


class Endless(Darkness):
    """Of one parameter a gradient without end, which is no NaN."""

    def forward(self, batch: Batch) -> Tensor:
        parameter = next(batch.pipe.codec.parameters())
        return super().forward(batch) + (parameter.sum() - parameter.sum().detach()).abs().sqrt()


def tiny() -> Pipeline:
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}
    codec = {"use": "sicmh.hyperprior", "params": CODEC}
    return build(parse_spec({"icm": 1, "name": "tiny", "codec": codec, "tasks": {"coarse": task}}), build_registry())


def coded(pipe: Pipeline, example: Example) -> CodedBatch:
    count = len(example.pictures)
    return CodedBatch(
        pipe, example.pictures, example.target, example.qualities, 0.0, range(count), [-1] * count, Kept()
    )


def loss_case(cls: type[Loss], **more: Any) -> LossCase:
    data = Numbers(Numbers.Params(), Path(), ".")
    return LossCase(cls, pipeline=tiny, batch=coded, data=data, reaches=("codec", "tasks.coarse.head"), **more)


@pytest.mark.parametrize(
    ("data", "check", "advice"),
    [
        (Shuffled, "check_order", "leave random crops and flips to training"),
        (Forgetting, "check_order", "other pixels when pickled. Sort file names"),
        (Repeating, "check_keys", "two pictures have the key 'train/0'"),
        (Located, "check_keys", "Use the path inside the folder"),
        (Floats, "check_samples", "Make it (3, H, W) uint8, RGB"),
        (
            FromOne,
            "check_samples",
            "is the class 2, and there are 2 labels. Make it what the kind classification takes",
        ),
        (Turned, "check_samples", "is torch.uint8 of shape (4, 5, 3). Make it (3, H, W) uint8, RGB"),
        (Stacked, "check_samples", "is torch.uint8 of shape (1, 3, 4, 5). Make it (3, H, W) uint8, RGB"),
        (Shouting, "check_declaration", "'plugin.component' in lower case; it is what a spec's \"use\" says"),
        (Nameless, "check_labels", "labels is ('one', ''). Make it a tuple of names"),
        (Plain, "check_samples", "of kind pictures has a target for 'train/0'. Make it None, or give the data set the"),
        (Unlabelled, "check_labels", "Name the classes or values, in order"),
        (Anywhere, "check_missing_folder", "opens a folder or split 'no-such-folder' that is not there"),
        (Growing, "check_length", "the length of test.numbers changed after reading. Find it out once"),
        (Unsure, "check_order", "number 0 is 'train/0', and 'train/0' or other pixels"),
        (Renaming, "check_order", "number 0 is 'train/0-1', and 'train/0-2' or other pixels at a second call"),
        (Flickering, "check_order", "number 2 is 'train/2', and 'train/2' or other pixels at a second call"),
        (Flagged, "check_labels", "ignore_index is True. Make it the number in targets that counts nowhere"),
        (Labelled, "check_labels", "of kind pictures has 2 labels. Plain pictures have none"),
        (Vague, "check_missing_folder", "says of a missing folder: there is no such folder. Name the folder"),
        (Long, "check_samples", "Make it (3, H, W) uint8, RGB"),
        (Splitless, "check_missing_folder", "opens a folder or split 'no-such' that is not there. Look at the folder"),
    ],
)
def test_a_data_sets_mistake_is_found_by_one_check(
    tmp_path: Path, data: type[DataSet], check: str, advice: str
) -> None:
    (tmp_path / "train").mkdir()
    ((found, message),) = testing.run_checks(DataSetCase(data, root=tmp_path))
    assert found == check
    assert advice in message


@pytest.mark.parametrize(
    ("loss", "check", "advice"),
    [
        (Summed, testing.check_loss_of_each_picture, "Return one value for each picture, (1,)"),
        (Unbounded, testing.check_loss_of_each_picture, "bound what is divided by"),
        (Standard, testing.check_loss_of_each_picture, "test.darkness is [nan] of pictures in [0, 1]"),
        (Moody, testing.check_loss_of_a_picture_alone, "of picture 2 is "),
        (OfTheBase, testing.check_loss_gradients, "no gradient reaches tasks.coarse.head"),
        (Compared, testing.check_loss_of_a_picture_alone, "Take no mean over the batch"),
        (Leading, testing.check_loss_of_a_picture_alone, "of picture 1 is [1.0] alone and"),
        (Rooted, testing.check_loss_gradients, "the gradient at codec is not finite"),
        (Column, testing.check_loss_of_each_picture, "a tensor of shape (1, 1) for 1 pictures. Return one value for"),
        (Whole, testing.check_loss_of_each_picture, "for 1 pictures. Return one value for each picture, (1,)"),
        (Zeroed, testing.check_loss_gradients, "no gradient reaches codec. Look for .detach()"),
        (Endless, testing.check_loss_gradients, "the gradient at codec is not finite"),
        (Stopped, testing.check_loss_gradients, "no gradient reaches codec. Look for .detach()"),
        (Owning, testing.check_loss_owns_its_weights, "Keep no module of the pipeline as an attribute"),
    ],
)
def test_a_losss_mistake_is_found(loss: type[Loss], check: Any, advice: str) -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        check(loss_case(loss))
    assert advice in str(caught.value)


def test_data_sets_and_losses_without_mistakes_pass(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert testing.run_checks(DataSetCase(Numbers, root=tmp_path)) == []
    assert testing.run_checks(DataSetCase(Maps, root=tmp_path)) == []
    assert testing.run_checks(loss_case(Darkness)) == []


def test_the_last_picture_is_read(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(testing.ConformanceError, match=r"reading picture 4 of 5 of test\.numbers raised IndexError"):
        testing.check_length(DataSetCase(Promising, root=tmp_path))


def test_a_data_set_is_tried_with_the_split_of_its_case(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    case = DataSetCase(Numbers, root=tmp_path, split="test")
    assert case.build().split == "test"
    assert testing.run_checks(case) == []


@pytest.mark.parametrize(
    ("most", "read"), [(1, {0}), (2, {0, 3}), (3, {0, 2, 3}), (4, {0, 1, 2, 3}), (9, {0, 1, 2, 3})]
)
def test_no_more_pictures_are_read_than_the_case_says(tmp_path: Path, most: int, read: set[int]) -> None:
    (tmp_path / "train").mkdir()
    seen = set()

    class Watched(Numbers):
        def __getitem__(self, number: int) -> Sample:
            seen.add(number)
            return super().__getitem__(number)

    testing.check_samples(DataSetCase(Watched, root=tmp_path, most=most))
    assert seen == read


def test_a_data_set_is_looked_at_in_the_size_that_its_case_asks_for(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    seen = []

    class Watching(Classification):
        """Keeps the sizes of pictures."""

        name: ClassVar[str] = "test.watching"

        def check_target(self, target: Any, size: Any, legend: Any) -> None:
            seen.append(size)
            super().check_target(target, size, legend)

    class Watched(Numbers):
        kind = "test.watching"

    testing.check_samples(DataSetCase(Watched, {"size": [8, 6]}, root=tmp_path, kind=Watching))
    assert seen == [(8, 6)] * 4
    with pytest.raises(testing.ConformanceError, match=r"opening test\.numbers at .*Give the case a folder"):
        testing.check_length(DataSetCase(Numbers, root=tmp_path / "none"))


def test_of_a_large_data_set_some_pictures_are_read_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    read = []

    class Watched(Long):
        def __getitem__(self, number: int) -> Sample:
            read.append(number)
            return super().__getitem__(number)

    testing.check_keys(DataSetCase(Watched, root=tmp_path, most=5))
    assert read == [0, 12, 24, 37, 49]


def test_a_loss_and_its_pipeline_are_tried_in_eval_mode() -> None:
    case = replace(loss_case(Owning), pipeline=lambda: tiny().train())
    pipe = case.seeded()
    loss = case.build(pipe)
    assert not any(module.training for module in (*pipe.modules(), *loss.modules()))


def test_a_loss_needs_a_pipeline() -> None:
    with pytest.raises(TypeError, match=r"LossCase\(Darkness, pipeline=\.\.\., \.\.\.\)"):
        testing.case_of(Darkness)


def test_a_data_set_needs_a_folder() -> None:
    with pytest.raises(TypeError, match=r"DataSetCase\(Numbers, root=\.\.\.\)"):
        testing.case_of(Numbers)


def test_a_gradient_of_some_pictures_is_one() -> None:
    testing.check_loss_gradients(loss_case(Second))


class Ours(Detection):
    """A kind that is not installed."""

    name: ClassVar[str] = "test.ours"


class Boxes(Numbers):
    """Boxes, one more from picture to picture."""

    kind = "test.ours"

    def __getitem__(self, number: int) -> Sample:
        found = super().__getitem__(number)
        boxes = torch.tensor([[0.0, 1, 3, 4]]).repeat(number, 1)
        labels = torch.zeros(number, dtype=torch.int64)
        return Sample(found.key, found.picture, {"boxes": boxes, "labels": labels})


def test_a_data_set_and_a_loss_may_have_a_kind_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(testing.ConformanceError, match=r"test\.numbers\.kind is 'test\.ours'"):
        testing.check_samples(DataSetCase(Boxes, root=tmp_path))
    assert testing.run_checks(DataSetCase(Boxes, root=tmp_path, kind=Ours)) == []
    case = replace(loss_case(Darkness, kind=Ours), data=Boxes(Boxes.Params(), tmp_path, "train"))
    pipe = case.seeded()
    example = case.example(pipe, 3)
    assert isinstance(example.target, tuple) and len(example.target) == 3
    (alone,) = example.one(2).target
    assert alone["boxes"] is not None and torch.equal(alone["boxes"], example.target[2]["boxes"])
    assert float(example.qualities.min()) > pipe.codec.quality_range[0] and example.size == (64, 64)
    assert case.build(pipe).task is None and replace(case, task="coarse").build(pipe).task == "coarse"


def test_a_kind_that_is_not_installed_is_found_by_the_declaration() -> None:
    with pytest.raises(testing.ConformanceError, match=r"test\.numbers\.kind is 'test\.ours'"):
        testing.check_declaration(DataSetCase(Boxes, root=Path()))
    testing.check_declaration(DataSetCase(Boxes, root=Path(), kind=Ours))


def test_every_pipeline_of_a_case_has_the_same_weights_and_nobody_elses_numbers_are_used_up() -> None:
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}
    codec = {"use": "sicmh.hyperprior", "params": {**CODEC, "qualities": 7}}
    spec = {"icm": 1, "name": "tiny", "codec": codec, "tasks": {"coarse": task}}
    case = replace(loss_case(Darkness), pipeline=lambda: build(parse_spec(spec), build_registry()))
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    pipe = case.seeded()
    assert torch.equal(torch.rand(3), expected)
    other = case.seeded()  # the global generator is elsewhere by now
    assert all(torch.equal(a, b) for a, b in zip(pipe.parameters(), other.parameters(), strict=True))
    example = case.example(pipe, 2)
    assert pipe.codec.quality_range == (1.0, 7.0)
    assert example.quality.value == 4.0 and example.qualities.tolist() == pytest.approx([1 + 6 * 0.37, 1 + 6 * 0.74])


def test_a_loss_of_plain_pictures_has_no_targets(tmp_path: Path) -> None:
    case = replace(loss_case(Darkness), data=Plain(Plain.Params(), Path(), "."))
    assert case.example(case.seeded()).target is None
    with pytest.raises(testing.ConformanceError, match=r"test\.numbers\.kind is 'test\.ours'"):
        other = replace(loss_case(Darkness), data=Boxes(Boxes.Params(), Path(), "."))
        other.example(other.seeded())


@pytest.mark.parametrize(("share", "wrong"), [(5e-5, False), (1e-3, True)])
def test_a_loss_alone_is_within_ten_thousandths_of_that_in_a_batch(share: float, wrong: bool) -> None:
    class Leaning(Darkness):
        """A little more in a batch."""

        def forward(self, batch: Batch) -> Tensor:
            found = super().forward(batch)
            return found * (1 + share * (len(found) > 1))

    if not wrong:
        testing.check_loss_of_a_picture_alone(loss_case(Leaning))
        return
    with pytest.raises(testing.ConformanceError, match="Take no mean over the batch"):
        testing.check_loss_of_a_picture_alone(loss_case(Leaning))

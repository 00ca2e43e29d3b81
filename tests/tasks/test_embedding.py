"""Kind `embedding`: vectors of pictures, whose neighbours are counted over the whole set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core.types import Legend, Prediction
from icm_tasks.kinds import Embedding, embedding

LEGEND = Legend(("a", "b", "c"))
KIND = Embedding()


def said(*vector) -> Prediction:
    return Prediction("embedding", torch.tensor([vector], dtype=torch.float32))


def tallies_of(vectors, ids):
    return [KIND.tally(said(*vector), torch.tensor(number)) for vector, number in zip(vectors, ids, strict=True)]


def values(tallies):
    return {name: figure.value for name, figure in KIND.figures(tallies, Legend()).items()}


def gathered(seed: int, pictures: int = 40, classes: int = 6, dimensions: int = 5):
    """Vectors around one direction a class, far enough spread that some neighbours are wrong."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(classes, size=pictures)
    centres = generator.normal(size=(classes, dimensions))
    return (centres[ids] + generator.normal(size=(pictures, dimensions))).astype(np.float32), ids


def test_it_is_registered_by_the_plugin(kind_of):
    assert type(kind_of("embedding")) is Embedding


def test_examples_depend_on_the_generator_alone():
    many = Legend(tuple(map(str, range(1000))))
    one, other = (KIND.example_target((4, 4), many, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)


def test_what_counts_nowhere_has_the_number_minus_one():
    ignoring = Legend(("a", "b"), ignore=7)
    assert [int(KIND.renumber(torch.tensor(number), (), ignoring)) for number in (0, 1, 7)] == [0, 1, -1]


@pytest.mark.parametrize("legend", [LEGEND, Legend()], ids=["classes", "instances"])
def test_examples_are_good_targets(legend):
    for seed in range(5):
        KIND.check_target(KIND.example_target((4, 4), legend, torch.Generator().manual_seed(seed)), (4, 4), legend)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.tensor(1.0), r"float32 of shape \(\); it should be a class or instance, \(\) int64"),
        (torch.tensor([1]), r"shape \(1,\)"),
        (torch.tensor(3), "number 3, and there are 3 labels"),
        (torch.tensor(-1), "number -1"),
    ],
)
def test_wrong_targets_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_target(target, (4, 4), LEGEND)


def test_instances_need_no_names():
    KIND.check_target(torch.tensor(123_456), (4, 4), Legend())
    assert KIND.match(Legend(("crow", "jay")), LEGEND) == ()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.ones(2, 8), r"\(1, any\)"),
        (torch.ones(8), r"\(1, any\)"),
        (torch.full((1, 8), float("inf")), "not finite"),
        (torch.zeros(1, 8), "length 0, which has no direction"),
    ],
)
def test_what_a_head_may_not_say(output, message):
    with pytest.raises(ValueError, match=message):
        KIND.check_prediction(Prediction("embedding", output), (4, 4), 1)


def test_one_vector_of_length_0_among_others_is_refused():
    output = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="length 0, which has no direction"):
        KIND.check_prediction(Prediction("embedding", output), (4, 4), 2)


def test_the_ignored_number_may_be_0():
    ids = torch.tensor([0, 1, 255])
    assert KIND.renumber(ids, (), Legend(ignore=0)).tolist() == [-1, 1, 255]
    assert KIND.renumber(ids, (), Legend(ignore=255)).tolist() == [0, 1, -1]
    assert KIND.renumber(ids, (), Legend()).tolist() == [0, 1, 255]


def test_answer_is_the_vector_at_length_one():
    KIND.check_prediction(said(3, 4), (4, 4), 1)
    assert KIND.answer(said(3, 4)) == {"vector": [0.6, 0.8]}
    assert KIND.describe(said(3, 4)) == "vector of 2: +0.60 +0.80"
    assert KIND.describe(said(1, -1, 1, -1)) == "vector of 4: +0.50 -0.50 +0.50 -0.50"
    assert KIND.describe(said(1, -1, 1, -1, 0)) == "vector of 5: +0.50 -0.50 +0.50 -0.50 ..."


def test_of_a_batch_the_first_vector_is_answered_and_measured():
    both = Prediction("embedding", torch.tensor([[3.0, 4.0], [0.0, 100.0]]))
    assert KIND.answer(both) == {"vector": [0.6, 0.8]}
    assert KIND.tally(both, torch.tensor(7)) == {"vector": [0.6, 0.8], "id": 7}


def test_the_vector_is_written_on_the_picture():
    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    drawn = KIND.draw(said(3, 4), picture)
    assert drawn.size == picture.size and drawn.getpixel((190, 90)) == (90, 90, 90)
    assert drawn.crop((0, 0, 120, 20)).getcolors() != [(2400, (90, 90, 90))]


def test_divergence_is_one_less_the_cosine():
    output = torch.tensor([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0]], requires_grad=True)
    found = KIND.divergence(output, torch.tensor([[1.0, 0.0]] * 3))
    torch.testing.assert_close(found, torch.tensor([0.0, 1 - 2**-0.5, 2.0]))
    found.sum().backward()
    assert output.grad.abs().max() > 0


# --- figures ---------------------------------------------------------------------------------------------------------


def reference(vectors, ids) -> tuple[list[float], list[float]]:
    """Recall at 1 and AP@R of each query that has a partner, by sorting lists."""
    hits, precisions = [], []
    for query in range(len(ids)):
        others = [number for number in range(len(ids)) if number != query]
        relevant = sum(ids[number] == ids[query] for number in others)
        if not relevant:
            continue
        a = vectors[query].astype(np.float64)

        def cosine(number, a=a):
            b = vectors[number].astype(np.float64)
            return float(a @ b / np.sqrt((a @ a) * (b @ b)))

        ranked = sorted(others, key=lambda number: -cosine(number))
        right = [ids[number] == ids[query] for number in ranked[:relevant]]
        hits.append(float(right[0]))
        precisions.append(sum(sum(right[: i + 1]) / (i + 1) for i in range(relevant) if right[i]) / relevant)
    return hits, precisions


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_sorted_lists(seed):
    vectors, ids = gathered(seed)
    hits, precisions = reference(vectors, ids)
    found = values(json.loads(json.dumps(tallies_of(vectors, ids))))
    assert 0 < np.mean(precisions) < np.mean(hits) < 1
    assert found == pytest.approx({"recall_at_1": 100 * np.mean(hits), "map_at_r": 100 * np.mean(precisions)})


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_how_many_queries_are_compared_at_once_does_not_matter(monkeypatch, at_once):
    tallies = tallies_of(*gathered(3))
    whole = values(tallies)
    monkeypatch.setattr(embedding, "_AT_ONCE", at_once)
    assert values(tallies) == whole


def test_order_of_pictures_does_not_matter():
    vectors, ids = gathered(7)
    vectors[5], vectors[6] = vectors[4], vectors[4]
    turned = np.random.default_rng(0).permutation(len(ids))
    assert values(tallies_of(vectors, ids)) == pytest.approx(values(tallies_of(vectors[turned], ids[turned])))


def test_map_at_r_looks_at_as_many_neighbours_as_there_are_partners():
    # From the query at 0 degrees: right, wrong, right, then far away the third partner. R = 3.
    angles, ids = np.radians([0, 10, 20, 30, 170]), [0, 0, 1, 0, 0]
    vectors = np.stack((np.cos(angles), np.sin(angles)), 1)
    tallies = tallies_of(vectors, ids)
    drawn = KIND.resampled(tallies, Legend(), np.eye(5))
    assert drawn["map_at_r"][0] == pytest.approx(100 * (1 / 1 + 0 + 2 / 3) / 3)
    assert drawn["recall_at_1"][0] == 100
    # The only picture of its class is no query.
    assert np.isnan(drawn["map_at_r"][2])


def test_length_of_vectors_does_not_matter():
    vectors, ids = gathered(8)
    longer = vectors * np.random.default_rng(0).uniform(0.1, 9, (len(ids), 1)).astype(np.float32)
    assert values(tallies_of(vectors, ids)) == pytest.approx(values(tallies_of(longer, ids)))


def test_a_network_that_says_the_same_of_all_gets_nothing_for_it():
    assert values(tallies_of([[0.3, 0.4, 0.5]] * 6, [0, 0, 0, 1, 1, 1])) == {"recall_at_1": 0, "map_at_r": 0}


def test_pictures_without_a_partner_are_no_queries_but_can_be_found():
    vectors, ids = [[1, 0], [0.9, 0.1], [0.95, 0.05]], [0, 0, 1]
    assert values(tallies_of(vectors, ids)) == {"recall_at_1": 0, "map_at_r": 0}
    assert values(tallies_of(vectors, [0, 1, 2])) == {"recall_at_1": None, "map_at_r": None}


def test_what_counts_nowhere_is_not_found_either():
    data = Legend(ignore=9)
    KIND.check_target(torch.tensor(9), (4, 4), data)
    vectors, ids = [[1, 0], [0.9, 0.1], [0.95, 0.05]], [0, 0, 9]
    tallies = [
        KIND.tally(said(*vector), KIND.renumber(torch.tensor(number), (), data))
        for vector, number in zip(vectors, ids, strict=True)
    ]
    assert values(tallies) == {"recall_at_1": 100, "map_at_r": 100}
    assert values(tallies[2:]) == {"recall_at_1": None, "map_at_r": None}


def test_figures_are_percents_of_which_more_is_better():
    figures = KIND.figures(tallies_of(*gathered(1)), Legend())
    assert {(figure.unit, figure.higher_is_better) for figure in figures.values()} == {("%", True)}
    assert [figure.title for figure in figures.values()] == ["recall@1", "mAP@R"]


def test_draws_are_of_queries_in_the_whole_set():
    vectors, ids = gathered(3, pictures=20)
    ids[:2] = 50, 51  # no queries
    tallies = tallies_of(vectors, ids)
    hits, precisions = reference(vectors, ids)
    weights = np.random.default_rng(2).multinomial(20, [1 / 20] * 20, size=6).astype(np.float64)
    weights = np.concatenate((weights, np.ones((1, 20)), np.eye(20)[:1]))
    drawn = KIND.resampled(tallies, Legend(), weights)
    counted = weights[:, [index for index in range(20) if (ids == ids[index]).sum() > 1]]
    for name, each in (("recall_at_1", hits), ("map_at_r", precisions)):
        expected = [100 * np.average(each, weights=row) if row.sum() else np.nan for row in counted]
        np.testing.assert_allclose(drawn[name], expected)
    assert {name: found[6] for name, found in drawn.items()} == pytest.approx(values(tallies))


def test_a_vector_without_direction_is_refused():
    for vector in ((0, 0), (float("nan"), 1)):
        with pytest.raises(ValueError, match="not finite or of length 0"):
            KIND.tally(said(*vector), torch.tensor(0))

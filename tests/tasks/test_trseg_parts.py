"""What TrSeg's parts are made of: the stage that is read, shares that are dropped, tokens, precision."""

from __future__ import annotations

import pytest
import torch

from icm_core.errors import SpecError
from icm_tasks import ModifiedTrSeg, TrSeg, ViT
from icm_tasks.backbones import Backbone
from icm_tasks.transformer import Decoder, DecoderLayer


@pytest.mark.parametrize(("stage", "stride"), [(0, 2), (1, 4)])
def test_a_stage_that_is_finer_than_stride_8_is_refused(stage, stride):
    with pytest.raises(SpecError, match=f"delivers features at stride {stride}, not 8"):
        Backbone("tf_efficientnet_lite0", stage)


def test_the_stage_that_is_named_is_read(small, layout):
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"stage": 2}), layout)
        assert (head.backbone.channels, Backbone("tf_efficientnet_lite0").channels) == (40, 320)
    assert head.projection[0].in_channels == 40


def test_convolutions_before_a_normalisation_have_no_bias(trseg):
    assert trseg.projection[0].bias is None and trseg.operations.classifier[0].bias is None
    assert trseg.operations.classifier[-1].bias is not None


def test_every_share_that_is_dropped_is_the_params(small, layout):
    with torch.device("meta"):
        head = ModifiedTrSeg(ModifiedTrSeg.Params.model_validate(small | {"dropout": 0.3, "layers": 2}), layout)
    shares = [module.p for module in head.modules() if isinstance(module, torch.nn.Dropout) and module.p]
    attention = [module.dropout for module in head.modules() if isinstance(module, torch.nn.MultiheadAttention)]
    assert set(shares) == set(attention) == {0.3}
    # In each of two rounds: one of the classifier and one of each of two layers, which have two attentions.
    assert (len(shares), len(attention)) == (2 * (1 + 2), 2 * 2 * 2)


def test_what_attention_and_feedforward_add_is_dropped_in_part(small):
    layer = DecoderLayer(channels=8, heads=2, feedforward=24, dropout=0.5).train()
    shapes: list[tuple[int, ...]] = []
    layer.dropout.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape)))
    layer(torch.rand(2, 5, 8), torch.rand(1, 5, 8), torch.rand(2, 7, 8), torch.rand(2, 7, 8))
    assert shapes == [(2, 5, 8), (2, 5, 8), (2, 5, 24), (2, 5, 8)]


def test_tokens_start_with_places_that_differ():
    torch.manual_seed(0)
    query = Decoder(tokens=50, layers=1, channels=64, heads=2, feedforward=8, dropout=0.0).query.detach()
    assert float(query.std()) == pytest.approx(1, abs=0.05) and float(query.mean()) == pytest.approx(0, abs=0.05)


def test_a_decoder_of_half_precision_stays_in_it():
    decoder = Decoder(tokens=5, layers=2, channels=8, heads=2, feedforward=8, dropout=0.0).bfloat16()
    assert decoder(torch.rand(1, 5, 8).bfloat16(), torch.rand(1, 8, 3, 4).bfloat16()).dtype == torch.bfloat16


def test_pretrained_weights_are_those_of_the_backbone(small, layout):
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"backbone": "resnet18"}), layout)
    with pytest.raises(SpecError, match="'coco' of resnet18 are unknown"):
        head.start_from("coco")


def test_pictures_of_four_million_pixels_are_seen_whole():
    assert {head.most_pixels for head in (TrSeg, ModifiedTrSeg, ViT)} == {2048 * 2048}


@pytest.mark.parametrize("layers", [1, 3])
def test_a_decoder_has_the_layers_that_are_asked_for(small, layout, layers):
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"layers": layers}), layout)
    assert len(head.operations.decoder.layers) == layers

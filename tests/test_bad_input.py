"""What went wrong once in hostile or odd input, and must not again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import icm_core
from icm_core.bitstream.container import check_size
from icm_core.coding import CdfTables
from icm_core.errors import InputError, SpecError, WeightsError
from icm_core.jpeg import jpeg_within
from icm_core.validation.strict_json import _BRACKETS, parse_json

SPECS = Path(__file__).parents[1] / "plugins/sicmh/icm_sicmh/specs"


@pytest.mark.parametrize("row", [[0, 0, 65536], [0, 70000, 65536], [1, 65536], [0, 65535], [-5, 3, 65536], [0]])
def test_a_probability_table_that_would_crash_the_coder_is_refused(row: list[int]) -> None:
    with pytest.raises(WeightsError, match="row 0"):
        CdfTables.from_tensor(torch.tensor([row]), torch.tensor([len(row)]), torch.tensor([0]))


def test_an_unterminated_string_is_scanned_once() -> None:
    # Where it does not match as one piece, the scan begins anew at each escaped quote: hours for a spec of 1 MB.
    text = '{"' + '\\"' * 1000
    assert [len(token[0]) for token in _BRACKETS.finditer(text)] == [1, len(text) - 1]
    with pytest.raises(SpecError):
        parse_json(text)


def test_a_picture_that_no_decoder_accepts_is_not_encoded() -> None:
    with pytest.raises(InputError, match="too large"):
        check_size(20_000, 6_000)


def test_jpeg_is_left_out_where_it_cannot_hold_the_picture() -> None:
    assert jpeg_within(Image.new("RGB", (65_501, 1)), 10**6) is None


def test_qualities_of_codec_and_enhancement_must_agree(tmp_path: Path) -> None:
    spec = json.loads((SPECS / "sicmh-small.json").read_text())
    spec["enhancement"]["params"]["qualities"] = 2
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(spec))
    with pytest.raises(SpecError, match="qualities"):
        icm_core.load(path, weights=False)


def test_a_cut_picture_from_pillow_is_an_input_error(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:500])
    from icm_core.pictures import as_batch

    with pytest.raises(InputError, match="cut or damaged"):
        as_batch(Image.open(cut))


@pytest.mark.parametrize("arguments", [["info", "x" * 300], ["check", "y" * 300 + ".json"], ["info", "loop"]])
def test_a_path_that_no_file_system_takes_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    program = "import sys; sys.argv[0] = 'icm'; from icm_core.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

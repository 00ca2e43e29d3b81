"""The Markdown page: each number in the column of its name."""

from __future__ import annotations

from icm_made import made, of_pictures, pictured

from icm_evaluation.compare import compare
from icm_evaluation.tables import page_of_tables


def cells(text: str, start: str) -> dict[str, str]:
    """The row that begins so, by the titles above it."""
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith(f"| {start} |"))
    head = max(above for above in range(number) if lines[above + 1].startswith("| ---"))
    titles, values = ([cell.strip() for cell in lines[at].strip("|").split("|")] for at in (head, number))
    return dict(zip(titles, values, strict=True))


def test_every_number_of_a_point_stands_under_its_name() -> None:
    rows = [pictured("a", [(50, 10), (100, 20)], of_pictures((30.126, 33)), 10, 10, seconds=(1.25, 3.5))]
    assert cells(page_of_tables([made("one", rows)]), "1") == {
        "quality": "1",
        "base bpp": "0.8000",
        "whole bpp": "4.0000",
        "seen psnr, dB": "30.13",
        "seen ms_ssim": "-",
        "encode s": "1.25",
        "decode s": "3.50",
    }


def test_a_comparison_says_how_much_fewer_bits_and_how_much_better() -> None:
    """Half of the bits for the same PSNR; 3 dB for each doubling, of the half that both ranges of rates cover."""
    sizes, psnr = [100, 200, 400], of_pictures((30, 33, 36))
    anchor = made("anchor", [pictured("a", [(size, size) for size in sizes], psnr, 10, 10)])
    test = made("test", [pictured("a", [(size // 2, size // 2) for size in sizes], psnr, 10, 10)])
    text = page_of_tables([anchor, test], compare([anchor, test], count=0))
    assert cells(text, "psnr") == {
        "figure": "psnr",
        "anchor": "anchor",
        "test": "test",
        "BD-rate": "-50.0 %",
        "BD of the figure": "+3 dB",
        "overlap": "100%",
        "note": "",
    }
    assert "- test uses 50 % of anchor's bits at PSNR 33 dB" in text

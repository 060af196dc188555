"""Make the pictures of SynthAU in docs/images from a data set.

synthau.png: each subject acts another Action Unit, as frame and as events. synthau_aus.png: one subject acts all Action
Units; each as the frame at onset, the frame at apex and the events of the movement.

Run: snnfer synth --preset paper --out DIR && python docs/make_pictures.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from snnfer import events
from snnfer.datasets import ACTION_UNITS
from snnfer.plot.activity import event_frame_image
from snnfer.representations import CountFrames
from snnfer.synth import contact_sheet

IMAGES = Path(__file__).parent / "images"
AUS = (2, 4, 12, 26, 45, 51, 9)
SHEET_SUBJECT, SHEET_COLUMNS, SHEET_WIDTH = "s02", 3, 1080


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
    ):
        image.quantize(128).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

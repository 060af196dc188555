"""A small benchmark, and reading the pages of reports."""

import base64
import html.parser
import re

import pytest
import yaml


class Page(html.parser.HTMLParser):
    """What tests look at in a report.

    ``tables`` (rows of cells) and ``notes`` (text of the first note below each) by label, ``links``, ``images``
    (attributes) and ``pictures`` (their content), ``tags``, ``ids`` and the running ``text``.
    """

    def __init__(self):
        super().__init__()
        self.tables, self.notes, self.links = {}, {}, []
        self.images, self.pictures = [], set()
        self.tags, self.ids, self.text = set(), set(), ""
        self.label, self.cell, self.in_note = "", None, False

    def row(self, label, *names):
        """The row of a table that starts with `names`, as a mapping from header to cell."""
        header, *rows = self.tables[label]
        [row] = [row for row in rows if row[: len(names)] == list(names)]
        return dict(zip(header, row, strict=True))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.ids.add(attrs.get("id"))
        self.links += [attrs[name] for name in ("href", "src", "srcset", "action") if name in attrs]
        if tag == "img":
            self.images.append(attrs)
            self.pictures.add(base64.b64decode(attrs["src"].partition(",")[2]))
        if attrs.get("role") == "region":
            self.label = attrs["aria-label"]
        if tag == "table":
            self.tables[self.label] = []
        if tag == "tr":
            self.tables[self.label].append([])
        if tag in ("td", "th"):
            self.cell = ""
        self.in_note = tag == "p" and attrs.get("class") == "note" and self.label in self.tables
        if self.in_note and self.label not in self.notes:
            self.notes[self.label] = ""
        else:
            self.in_note = False

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell += data
        if self.in_note:
            self.notes[self.label] += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self.label][-1].append(self.cell)
            self.cell = None
        self.in_note = self.in_note and tag != "p"


@pytest.fixture(scope="session")
def parse_page():
    """A function from the path of a report to its `Page`."""

    def parse(path):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        page.text = re.sub(r"\s+", " ", page.text)
        return page

    return parse


@pytest.fixture
def config_file(tmp_path, toy_manifest, monkeypatch):
    """A small benchmark on the toy recordings."""
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    values = {
        "name": "toy",
        "models": [{"name": "au_snn", "args": {"channels": 4, "hidden": 16}}],
        "modalities": ["events", "rgb"],
        "data": {"dataset": "manifest", "root": str(toy_manifest), "n_steps": 10, "size": [16, 16], "crop": "none"},
        "train": {"epochs": 3, "batch_size": 4, "threads": 1},
        "controls": {"label_permuted": ["au_snn/events"]},
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(values))
    return path

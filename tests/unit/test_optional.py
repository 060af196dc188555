"""Optional dependencies: the error names the extra, and hides no other error."""

import json

import pytest

from snnfer._optional import require
from snnfer.errors import MissingExtraError


def test_returns_the_module():
    assert require("json", extra="data") is json


def test_returns_the_submodule_of_a_dotted_name():
    assert require("json.decoder", extra="data") is json.decoder


def test_a_missing_package_names_the_extra():
    with pytest.raises(MissingExtraError) as error:
        require("no_such_package.part", extra="data")
    assert str(error.value) == (
        "the Python package 'no_such_package' is not installed; likely cause: snnfer was installed without its 'data' "
        "extra; fix: pip install 'snnfer[data]'."
    )


def test_an_import_error_inside_an_installed_package_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import another_missing_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_package"):
        require("half_installed", extra="data")

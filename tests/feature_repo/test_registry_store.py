"""Feast's registry file is whole at any time."""

from pathlib import Path

import pytest

from feature_repo.settings import FeatureSettings
from feature_repo.store import open_store, register

pytestmark = pytest.mark.slow


def test_who_is_killed_while_writing_leaves_the_old_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FeatureSettings(home=tmp_path)
    store = open_store(settings)
    register(store, settings.lake)
    file = tmp_path / "feast" / "registry.db"
    before = file.read_bytes()

    def kill(*_: Path) -> None:
        assert file.read_bytes() == before
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", kill)
        store.delete_feature_view("user_features")
    assert file.read_bytes() == before
    open_store(settings).delete_feature_view("user_features")
    assert file.read_bytes() != before

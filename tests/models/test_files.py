import pytest

from models.files import replacing


def test_a_file_appears_whole_or_the_old_one_stays(tmp_path):
    path = tmp_path / "new" / "model"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["model"]

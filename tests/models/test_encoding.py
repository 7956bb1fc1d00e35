import numpy as np
import pandas as pd
import pytest
import torch

from models.encoding import UNKNOWN, Vocabulary, numbers
from models.numeric import WIDTH, NumericEncoder


def test_missing_empty_and_unseen_text_is_unknown():
    vocabulary = Vocabulary.fit(pd.Series(["b", "a", "", None, "b"]))
    assert vocabulary.values == ("a", "b")
    codes = vocabulary.encode(pd.Series(["a", "b", "", None, np.nan, "c"]))
    assert codes.tolist() == [1, 2, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_values_of_any_type_are_taken_as_text():
    vocabulary = Vocabulary.fit(pd.Series([10, 20]))
    assert vocabulary.encode(pd.Series([20, 30], dtype="category")).tolist() == [2, UNKNOWN]
    assert vocabulary.encode(pd.Series(["10", None], dtype="string")).tolist() == [1, UNKNOWN]


def test_rare_values_are_left_out():
    assert Vocabulary.fit(pd.Series(["a", "a", "b"]), minimum=2).values == ("a",)


def test_numbers_take_none_and_refuse_text():
    frame = pd.DataFrame({"x": [1, None], "y": ["3", "tall"]})
    assert np.isnan(numbers(frame, ["x"])[1, 0])
    with pytest.raises(ValueError, match="tall"):
        numbers(frame, ["y"])


def test_the_encoder_is_finite_for_any_number_and_flags_the_missing():
    encoder = NumericEncoder(np.array([[0.0], [0.0], [5.0], [90.0], [np.nan]], np.float32))
    raw = torch.tensor([[np.nan], [0.0], [-1e30], [1e30], [np.inf], [-np.inf]])
    encoded = encoder(raw)
    assert encoded.shape == (6, WIDTH)
    assert torch.isfinite(encoded).all()
    assert encoded[:, -1].tolist() == [1, 0, 0, 0, 0, 0]
    assert (encoded[0, :-1] == 0).all()


def test_the_encoding_grows_with_the_number():
    encoder = NumericEncoder(np.random.default_rng(0).exponential(10, (500, 1)).astype(np.float32))
    encoded = encoder(torch.linspace(0, 50, 100).unsqueeze(1))
    assert (encoded[1:] >= encoded[:-1]).all()
    assert (encoded[-1] > encoded[0]).sum() == WIDTH - 1


def test_numbers_of_one_class_share_a_code_and_other_text_stands_for_itself():
    vocabulary = Vocabulary.fit(pd.Series(["12", "15", "16", "tall"]), step=4.0)
    codes = dict(zip(vocabulary.values, vocabulary.codes, strict=True))
    assert codes["12"] == codes["15"] != codes["16"]
    assert len(set(codes.values())) == 3 == len(vocabulary) - 1


def test_an_extended_vocabulary_keeps_its_codes_and_adds_at_its_end():
    before = Vocabulary.fit(pd.Series(["12", "20"]), step=4.0)
    after = before.extended(pd.Series(["13", "40", "12"]), step=4.0)
    assert after.values[:2] == before.values and after.codes[:2] == before.codes
    assert after.table["13"] == before.table["12"]
    assert after.table["40"] == len(before)

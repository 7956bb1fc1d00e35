import pandas as pd
import pytest

from flows.parameters import ParameterError, day, moment, one_of, shares


def test_a_day_is_midnight_in_utc_and_empty_means_none():
    assert day("2016-01-31", "until") == pd.Timestamp("2016-01-31", tz="UTC")
    assert day("", "until") is None


@pytest.mark.parametrize("text", ["31.01.2016", "2016-13-01", "yesterday", "2016"])
def test_what_is_no_day_is_refused_with_the_form_to_use(text):
    with pytest.raises(ParameterError, match=r"--until is .* give a date as YYYY-MM-DD"):
        day(text, "until")


def test_shares_rise_to_all():
    assert shares("1, 10,100") == (1, 10, 100)
    assert shares("0,100") == (0, 100)
    assert shares("100") == (100,)


@pytest.mark.parametrize("text", ["", "10", "10,5,100", "10,10,100", "ten,100", "-1,100", "50,200"])
def test_other_shares_are_refused(text):
    with pytest.raises(ParameterError, match="whole percents that rise to 100"):
        shares(text)


def test_moments_are_utc_where_they_name_no_zone_and_nothing_is_none():
    assert moment("2024-05-01T12:30", "since") == pd.Timestamp("2024-05-01T12:30", tz="UTC")
    assert moment("2024-05-01T12:30+09:00", "since") == pd.Timestamp("2024-05-01T03:30", tz="UTC")
    assert moment("2024-05-01", "since") == pd.Timestamp("2024-05-01", tz="UTC")
    assert moment("", "since") is None


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "01.05.2024", "2024-05-01T25:00", "NaT"])
def test_a_moment_that_is_none_is_told_with_the_format(text):
    with pytest.raises(ParameterError, match=r"--since is .*YYYY-MM-DDTHH:MM"):
        moment(text, "since")


def test_a_choice_is_one_of_those_offered():
    assert one_of("champion", "against", "champion", "baselines") == "champion"
    with pytest.raises(ParameterError, match="--against is 'nobody': give champion or baselines"):
        one_of("nobody", "against", "champion", "baselines")

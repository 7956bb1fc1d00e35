"""A seeded rental marketplace: tastes, seasons, and a drift that begins at a known date.

Guests choose among what is listed by taste, purpose, price and season, and rate what they got. Taste follows
segment and age, and rentals resemble others of their category and area, so that a model which sees features
can predict both choices and ratings. A small share of rows is bad on purpose.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.readers import Source, SourceError, kind_of

START = pd.Timestamp("2021-01-01", tz="UTC")
DRIFT_AT = pd.Timestamp("2023-01-01", tz="UTC")
"""From here on people rent for other purposes and like other rentals; who they are does not change."""
END = pd.Timestamp("2024-01-01", tz="UTC")

MISSING_RATING_SHARE = 0.004
"""Ratings left empty, a few per thousand as in public data."""
OFF_SCALE_SHARE = 0.003
"""Ratings of 0 or 11, as by a form with another scale."""
IMPLAUSIBLE_AGE_SHARE = 0.01
"""Ages of 116 and more, as by a form whose first year is 1900 or earlier."""
LATE_ARRIVAL_SHARE = 0.02
"""Ratings that become known long after they happened, as from a phone without a network."""
PROMPT_SECONDS = (0.5, 30.0)
"""Shortest and longest way of the other ratings."""
LATE_SECONDS = (3600.0, 7 * 24 * 3600.0)
"""Shortest and longest way of the late ones: an hour to a week, evenly by order of magnitude."""
SIZE_STEPS = (0.15, 0.7, 0.15)
"""Shares of one person less, as many and one more: users beside their segment, rentals beside their user."""
UNKNOWN_ATTRIBUTE_SHARE = 0.1
"""Attributes that a user keeps to themselves."""

SEGMENTS = ("solo", "couple", "family", "friends", "business")
SEGMENT_SHARES = (0.25, 0.3, 0.2, 0.15, 0.1)
SEGMENT_SIZES = (1, 2, 4, 5, 1)
"""People that most of a segment rent for."""
SEGMENT_HEIRS = (1, 0, 3, 4, 2)
"""Whose taste each segment has once the drift has begun: a model that learnt who likes what is wrong then,
though all that is liked by somebody is liked about as much as before."""
AREAS = ("harbour", "old town", "riverside", "hills", "station", "university", "beach", "forest")
TASTES = 6
"""Dimensions of taste: more than a popularity list can follow, fewer than a small model can learn."""

DAYS_PER_YEAR = 365.25
SUMMER_DAY = 200
"""Day of the year, late July, around which most rentals happen."""

_ARRIVAL_STREAM, _SIZE_STREAM = 1, 2
"""Random numbers of arrivals and of sizes, beside those of all else: changing the one leaves the others."""

_EVENTS_AT_ONCE = 4000
"""Events whose choice is drawn together: with 600 rentals some 20 MB per array."""

RATING_NOISE = 0.55
"""Standard deviation of what no model can explain, in stars."""


@dataclass(frozen=True)
class _Category:
    name: str
    price: float
    capacity: int
    share: float
    """Share of the listings."""
    peak_day: int
    """Day of the year on which it is most wanted."""
    season: float
    """How much more it is wanted then, in units of utility."""
    shift: float
    """Change of its appeal when the drift begins, in units of utility."""


_CATEGORIES = (
    _Category("apartment", 110, 4, 0.26, 120, 0.1, -0.7),
    _Category("studio", 75, 2, 0.20, 280, 0.1, -0.8),
    _Category("loft", 150, 3, 0.10, 340, 0.2, -0.4),
    _Category("house", 190, 6, 0.16, 200, 0.3, 0.8),
    _Category("villa", 340, 8, 0.07, 210, 0.8, 0.7),
    _Category("cabin", 130, 5, 0.11, 20, 0.6, 0.9),
    _Category("houseboat", 170, 4, 0.05, 190, 0.9, 0.2),
    _Category("guest room", 50, 1, 0.05, 270, 0.2, -0.9),
)


@dataclass(frozen=True)
class _Purpose:
    name: str
    share: float
    share_after: float
    """Share once the drift has begun."""
    fits: tuple[str, ...]
    """Categories that suit it."""


_PURPOSES = (
    _Purpose("city break", 0.34, 0.18, ("apartment", "studio", "loft")),
    _Purpose("family holiday", 0.24, 0.20, ("house", "villa", "cabin")),
    _Purpose("business trip", 0.19, 0.11, ("studio", "apartment", "guest room")),
    _Purpose("celebration", 0.13, 0.11, ("villa", "loft", "houseboat")),
    _Purpose("remote work", 0.10, 0.40, ("house", "cabin", "houseboat")),
)


def read(
    seed: int = 7,
    users: int = 4000,
    rentals: int = 600,
    events: int = 24_000,
    start: pd.Timestamp = START,
    end: pd.Timestamp = END,
    drift_at: pd.Timestamp = DRIFT_AT,
) -> Source:
    """Generate the marketplace; the same arguments give the same rows.

    Args:
        seed: seed of all randomness.
        users: users; they join over the whole time.
        rentals: rentals; most are listed at the start.
        events: ratings, in the order of time.
        start: first moment of the history, aware.
        end: moment after the last.
        drift_at: when purposes and categories begin to shift.

    Raises:
        SourceError: a count is not positive, or the times are not in order.
    """
    if min(users, rentals, events) < 1:
        raise SourceError(f"users={users}, rentals={rentals}, events={events}: each must be at least 1")
    if not start < drift_at < end:
        raise SourceError(f"start < drift_at < end does not hold for {start}, {drift_at}, {end}")
    rng = np.random.default_rng(seed)
    guests = _guests(rng, users, start, end)
    offers = _offers(rng, rentals, start, end)
    when = _times(rng, events, start, end)
    who = _who(rng, guests.frame["joined_at"], when)
    after = when >= _seconds(drift_at)
    purpose = _purposes(rng, after)
    chosen, match, fit = _choices(rng, guests, offers, who, when, after, purpose)

    stars = 3.4 + guests.mildness[who] + 0.45 * offers.quality[chosen] + 0.55 * match + 0.3 * fit
    stars += rng.normal(0, RATING_NOISE, events) - 0.25 * guests.thrift[who] * offers.log_price[chosen]
    given = np.clip(np.round(stars), 1, 5)
    given = np.where(rng.random(events) < OFF_SCALE_SHARE, rng.choice([0.0, 11.0], events), given)
    given[rng.random(events) < MISSING_RATING_SHARE] = np.nan
    ratings = pd.DataFrame(
        {
            "rating_id": _ids("rating-%07d", events),
            "user_id": guests.frame["user_id"].to_numpy()[who],
            "rental_id": offers.frame["rental_id"].to_numpy()[chosen],
            "rating": given,
            "source_rating": given,
            "purpose": np.array([each.name for each in _PURPOSES], dtype=object)[purpose],
            "size": _sizes(np.random.default_rng([seed, _SIZE_STREAM]), guests, offers, who, chosen),
            "event_timestamp": _utc(when),
            "arrived_at": _utc(_known_at(np.random.default_rng([seed, _ARRIVAL_STREAM]), when)),
        }
    )
    tables = {"users": guests.frame, "rentals": offers.frame, "ratings": ratings}
    fields = {
        f"{table}.{name}": kind_of(frame[name]) for table, frame in tables.items() for name in frame.columns
    }
    return Source(**tables, fields=fields)


@dataclass(frozen=True)
class _Guests:
    frame: pd.DataFrame
    taste: np.ndarray
    """(users, TASTES)."""
    taste_after: np.ndarray
    """The same once the drift has begun."""
    thrift: np.ndarray
    """How much a high price puts each user off."""
    mildness: np.ndarray
    """Stars that each user gives above the average."""
    segment: np.ndarray
    """Index into SEGMENTS."""


@dataclass(frozen=True)
class _Offers:
    frame: pd.DataFrame
    taste: np.ndarray
    """(rentals, TASTES)."""
    category: np.ndarray
    """Index into _CATEGORIES."""
    log_price: np.ndarray
    quality: np.ndarray


def _guests(rng: np.random.Generator, count: int, start: pd.Timestamp, end: pd.Timestamp) -> _Guests:
    segment = rng.choice(len(SEGMENTS), size=count, p=SEGMENT_SHARES)
    age = np.clip(rng.normal(39, 13, count), 18, 85).round()
    of_segment, of_age = rng.normal(size=(len(SEGMENTS), TASTES)), rng.normal(size=TASTES)
    taste = 0.8 * of_segment[segment] + 0.4 * ((age - 39) / 13)[:, None] * of_age
    taste += rng.normal(0, 0.5, (count, TASTES))
    taste_after = taste + 0.8 * (of_segment[list(SEGMENT_HEIRS)] - of_segment)[segment]
    height = rng.normal(171, 9, count).round()
    known_age = np.where(rng.random(count) < IMPLAUSIBLE_AGE_SHARE, 116.0 + rng.integers(0, 8, count), age)
    frame = pd.DataFrame(
        {
            "user_id": _ids("u%d", count),
            "joined_at": _utc(_arrivals(rng, count, start, end, early=0.3)),
            "age": _partly_unknown(rng, known_age),
            "height_cm": _partly_unknown(rng, height),
            "weight_kg": _partly_unknown(rng, (24.5 * (height / 100) ** 2 + rng.normal(0, 9, count)).round()),
            "segment": np.array(SEGMENTS, dtype=object)[segment],
        }
    )
    thrift = np.clip(rng.normal(0.9, 0.5, count) + 0.5 * (segment == 0) - 0.6 * (segment == 4), 0, None)
    return _Guests(frame, taste, taste_after, thrift, rng.normal(0, 0.3, count), segment)


def _offers(rng: np.random.Generator, count: int, start: pd.Timestamp, end: pd.Timestamp) -> _Offers:
    category = rng.choice(len(_CATEGORIES), size=count, p=[each.share for each in _CATEGORIES])
    area = rng.integers(0, len(AREAS), count)
    usual_price = np.array([each.price for each in _CATEGORIES])[category]
    quality = rng.normal(0, 0.6, count)
    price = (usual_price * np.exp(rng.normal(0, 0.3, count) + 0.15 * quality)).round(2)
    taste = 0.7 * rng.normal(size=(len(_CATEGORIES), TASTES))[category]
    taste += 0.5 * rng.normal(size=(len(AREAS), TASTES))[area] + rng.normal(0, 0.5, (count, TASTES))
    capacity = np.array([each.capacity for each in _CATEGORIES])[category] + rng.integers(0, 3, count)
    frame = pd.DataFrame(
        {
            "rental_id": _ids("r%d", count),
            "category": np.array([each.name for each in _CATEGORIES], dtype=object)[category],
            "area": np.array(AREAS, dtype=object)[area],
            "price": price,
            "capacity": capacity.astype(float),
            "listed_at": _utc(_arrivals(rng, count, start, end, early=0.6)),
        }
    )
    return _Offers(frame, taste, category, np.log(price / np.median(price)), quality)


def _choices(
    rng: np.random.Generator,
    guests: _Guests,
    offers: _Offers,
    who: np.ndarray,
    when: np.ndarray,
    after: np.ndarray,
    purpose: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rental that each event takes (a multinomial logit), and how it suits taste and purpose."""
    suits = np.array([[float(each.name in one.fits) for each in _CATEGORIES] for one in _PURPOSES])
    shift = np.array([each.shift for each in _CATEGORIES])
    peak = np.array([each.peak_day for each in _CATEGORIES])
    season = np.array([each.season for each in _CATEGORIES])
    listed = offers.frame["listed_at"].dt.tz_localize(None).to_numpy()
    chosen, match, fit = np.empty(len(who), dtype=int), np.empty(len(who)), np.empty(len(who))
    for first in range(0, len(who), _EVENTS_AT_ONCE):
        part = slice(first, first + _EVENTS_AT_ONCE)
        taste = np.where(after[part, None], guests.taste_after[who[part]], guests.taste[who[part]])
        matches = taste @ offers.taste.T / np.sqrt(TASTES)
        wave = season * np.cos(2 * np.pi * (_day_of_year(when[part])[:, None] - peak) / DAYS_PER_YEAR)
        by_category = 1.6 * suits[purpose[part]] + wave + after[part, None] * shift
        utility = 1.2 * matches + by_category[:, offers.category] + 0.7 * offers.quality
        utility -= guests.thrift[who[part], None] * offers.log_price
        utility[listed > when[part, None]] = -np.inf
        taken = np.argmax(utility + rng.gumbel(size=utility.shape), axis=1)
        chosen[part] = taken
        match[part] = matches[np.arange(len(taken)), taken]
        fit[part] = suits[purpose[part], offers.category[taken]]
    return chosen, match, fit


def _times(rng: np.random.Generator, count: int, start: pd.Timestamp, end: pd.Timestamp) -> np.ndarray:
    """Return ascending times: more in summer, and more as the marketplace grows."""
    days = np.arange(_seconds(start), _seconds(end), np.timedelta64(1, "D"))
    rate = 1 + 0.35 * np.cos(2 * np.pi * (_day_of_year(days) - SUMMER_DAY) / DAYS_PER_YEAR)
    rate *= np.linspace(1, 1.3, len(days))
    day = rng.choice(days, size=count, p=rate / rate.sum())
    times = day + rng.integers(0, 24 * 3600, count).astype("timedelta64[s]")
    return np.sort(np.minimum(times, _seconds(end) - np.timedelta64(1, "s")))


def _who(rng: np.random.Generator, joined_at: pd.Series, when: np.ndarray) -> np.ndarray:
    """Return a user for each event among those who joined by then; a few are far more active than most."""
    order = np.argsort(joined_at.dt.tz_localize(None).to_numpy(), kind="stable")
    joined = joined_at.dt.tz_localize(None).to_numpy()[order]
    activity = np.cumsum(rng.gamma(0.6, size=len(order)) + 0.05)
    present = np.searchsorted(joined, when, side="right")
    return order[np.searchsorted(activity[:-1], rng.random(len(when)) * activity[present - 1], side="right")]


def _purposes(rng: np.random.Generator, after: np.ndarray) -> np.ndarray:
    shares = np.array([[each.share for each in _PURPOSES], [each.share_after for each in _PURPOSES]])
    until = np.cumsum(shares, axis=1)[after.astype(int)]
    return np.minimum((rng.random(len(after))[:, None] > until).sum(axis=1), len(_PURPOSES) - 1)


def _sizes(
    rng: np.random.Generator, guests: _Guests, offers: _Offers, who: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Return for how many people each event is: near the usual number of the user, as far as they fit in."""
    usual = np.array(SEGMENT_SIZES)[guests.segment] + rng.choice(
        [-1, 0, 1], len(guests.segment), p=SIZE_STEPS
    )
    wanted = usual[who] + rng.choice([-1, 0, 1], len(who), p=SIZE_STEPS)
    fitting = np.clip(wanted, 1, offers.frame["capacity"].to_numpy()[chosen])
    return _partly_unknown(rng, fitting)


def _known_at(rng: np.random.Generator, when: np.ndarray) -> np.ndarray:
    """Return when each rating became known: seconds after it happened, a few hours to days."""
    late = np.exp(rng.uniform(np.log(LATE_SECONDS[0]), np.log(LATE_SECONDS[1]), len(when)))
    delay = np.where(
        rng.random(len(when)) < LATE_ARRIVAL_SHARE, late, rng.uniform(*PROMPT_SECONDS, len(when))
    )
    return when + (delay * 1e6).astype("timedelta64[us]")


def _arrivals(
    rng: np.random.Generator, count: int, start: pd.Timestamp, end: pd.Timestamp, early: float
) -> np.ndarray:
    """Return times of joining: the share ``early`` (and always the first) at ``start``, the rest later."""
    spread = rng.random(count) * (rng.random(count) >= early)
    spread[0] = 0
    return _seconds(start) + ((end - start).total_seconds() * spread).astype("timedelta64[s]")


def _partly_unknown(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(values)) < UNKNOWN_ATTRIBUTE_SHARE, np.nan, values)


def _ids(pattern: str, count: int) -> np.ndarray:
    return np.char.mod(pattern, np.arange(count)).astype(object)


def _seconds(time: pd.Timestamp) -> np.datetime64:
    return np.datetime64(time.tz_convert("UTC").tz_localize(None), "s")


def _utc(times: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.astype("datetime64[us]")).tz_localize("UTC")


def _day_of_year(times: np.ndarray) -> np.ndarray:
    return (times.astype("datetime64[D]") - times.astype("datetime64[Y]")).astype(int)

"""Inputs in words: to which subject an input belongs, and how an app says what it did."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from models.encoding import Encoding

ELEMENT = re.compile(r"(?P<name>.+)\[(?P<position>\d+)\]")
"""Name of one element of an input that is a list, such as ``user_recent_rentals[2]``."""

Groups = dict[str, tuple[str, ...]]
"""Columns by the name of their group."""

_SPAN = r"_(?P<span>all|\d+d)"


class Rule(NamedTuple):
    """Words for the inputs whose whole name matches ``pattern``; ``context`` follows "chosen more often"."""

    pattern: str
    subject: str
    context: str


USER_RULES = (
    Rule(r"user_id", "user's own taste", "by you"),
    Rule(r"purpose", "purpose", "for {value}"),
    Rule(r"purpose_rating_\w+?" + _SPAN, "purpose", "for what is rated {value} on average {span}"),
    Rule(r"purpose_rentals" + _SPAN, "purpose", "for what {value} rented {span}"),
    Rule(r"size", "size", "in size {value}"),
    Rule(r"user_segment", "user's profile", "by people of your segment"),
    Rule(r"user_age(_class)?", "user's profile", "by people of your age"),
    Rule(r"user_height_(cm|class)", "user's profile", "by people of your height"),
    Rule(r"user_weight_(kg|class)", "user's profile", "by people of your weight"),
    Rule(r"user_rentals" + _SPAN, "user's activity", "by people with {value} rentals {span}"),
    Rule(r"user_recency_days", "user's activity", "{value} days after one's last rental"),
    Rule(r"user_rating_\w+?" + _SPAN, "user's ratings", "by people who rate {value} on average {span}"),
    Rule(r"user_favourite_\w+", "user's past rentals", "by people who rent {value} most"),
    Rule(r"user_price_mean", "user's past rentals", "by people who rent at {value} on average"),
    Rule(r"user_categories", "user's past rentals", "by people who rent in {value} categories"),
    Rule(r"user_recent_\w+\[\d+\]", "user's recent rentals", "by people who rented {value}, as you did"),
    Rule(r"user_recent_\w+", "user's recent rentals", "by people who rented what you did"),
)
"""How a user's inputs are said, to the user; a body is not put into figures: others may see the screen."""

RENTAL_RULES = (
    Rule(r"rental_id", "the rental itself", "for its own appeal"),
    Rule(r"rental_category", "rental's listing", "as {value}"),
    Rule(r"rental_area", "rental's listing", "in {value}"),
    Rule(r"rental_price", "rental's listing", "at a price of {value}"),
    Rule(r"rental_capacity", "rental's listing", "at a size of {value}"),
    Rule(r"rental_rentals" + _SPAN, "rental's popularity", "with {value} rentals {span}"),
    Rule(r"rental_recency_days", "rental's popularity", "{value} days after its last rental"),
    Rule(r"rental_trend_\w+", "rental's popularity", "as its rentals change"),
    Rule(r"rental_rating_\w+?" + _SPAN, "rental's ratings", "with {value} stars on average {span}"),
    Rule(r"rental_\w+_counts", "rental's earlier choices", "as what it was chosen for before"),
    Rule(r"category", "rental's listing", "as {value}"),
    Rule(r"category_rating_\w+", "category's ratings", "with {value} stars in its category"),
    Rule(r"category_\w+", "category's popularity", "as its category is rented"),
)
"""How a rental's inputs are said."""

OWNERS = {"user_": "your ", "rental_": "its "}
"""Whose an input is, by the start of its name, as said to the user."""

ALL_TIME = "all"


def subject(name: str, rules: Iterable[Rule]) -> str:
    """Return what the input is about; an input without a rule stands for itself."""
    for rule in rules:
        if re.fullmatch(rule.pattern, name):
            return rule.subject
    return name.replace("_", " ")


def subjects(encoding: Encoding) -> tuple[Groups, Groups]:
    """Group the inputs of users and those of rentals by subject, in the order in which they come."""
    sides = (encoding.user, USER_RULES), (encoding.rental, RENTAL_RULES)
    users, rentals = (_by_subject(side.inputs, rules) for side, rules in sides)
    return users, rentals


def _by_subject(names: Iterable[str], rules: Iterable[Rule]) -> Groups:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(subject(name, rules), []).append(name)
    return {key: tuple(group) for key, group in groups.items()}


def context(name: str, value: Any, rules: Iterable[Rule]) -> str:
    """Return the words for an input's value; None and NaN are said to be unknown."""
    owner = next((words for prefix, words in OWNERS.items() if name.startswith(prefix)), "the ")
    label = owner + re.sub("^(user|rental)_", "", name).replace("_", " ")
    if value is None or value != value or value == "":
        return f"where {label} is not known"
    for rule in rules:
        if match := re.fullmatch(rule.pattern, name):
            span = match.groupdict().get("span")
            return rule.context.format(value=_plain(value), span=_span(span) if span else "")
    return f"with {label} {_plain(value)}"


def _span(span: str) -> str:
    return "so far" if span == ALL_TIME else f"in {span.removesuffix('d')} days"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}".rstrip("0").rstrip(".")

"""YAML as manifests need it: one plain value at each place."""

from collections.abc import Hashable
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError


class YamlFault(ValueError):  # noqa: N818 - a fault, as in a manifest's list of them
    """A text is not YAML, or says something in a way that is not read; the message names the place."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few aliases of aliases stand for more than the memory holds, and one of itself for no end.
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases are not read here: write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        # The base class refuses what a tag has made a mapping of, and keys that are not plain.
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        for key in (key for key, _ in entries if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value!r} stands here a second time: keep one"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """Return the document in a text of YAML or JSON.

    Raises:
        YamlFault: it is not YAML, repeats a key, holds an alias or is nested too deeply.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise YamlFault(f"{error.problem}{place}") from error
    except RecursionError as error:
        raise YamlFault("is nested too deeply") from error
    # Dates and numbers that cannot be are plain value errors.
    except (yaml.YAMLError, ValueError) as error:
        raise YamlFault(" ".join(str(error).split())) from error

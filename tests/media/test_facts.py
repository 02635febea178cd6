"""What the data decided: classes whose names are told apart."""

import time

from mezzotint.media.facts import Facts, told_apart


def test_two_classes_of_one_name_are_told_apart() -> None:
    assert told_apart(["crane", "kite", "crane"]) == ["crane", "kite", "crane (2)"]
    assert told_apart(["a", "a", "a (2)", "a"]) == ["a", "a (3)", "a (2)", "a (4)"]
    facts = Facts.from_json({"shape": [1, 8, 8], "classes": ["crane", "crane"]})
    assert facts.classes == ("crane", "crane (2)"), "as a model file of 0.1 may have them"


def test_many_of_one_name_take_no_time() -> None:
    began = time.perf_counter()
    assert len(set(told_apart(["a"] * 100_000))) == 100_000
    assert time.perf_counter() - began < 5

"""What the plan let go of is kept for a while, and no longer."""

from serving.draining import Draining


def test_what_left_is_kept_for_its_time() -> None:
    draining = Draining[str](6)
    assert draining.beside({"a", "b"}, before=set(), now=0) == {"a", "b"}
    assert draining.beside({"a"}, before={"a", "b"}, now=10) == {"a", "b"}
    assert draining.beside({"a"}, before={"a"}, now=15.9) == {"a", "b"}
    assert draining.beside({"a"}, before={"a"}, now=16) == {"a"}


def test_its_time_begins_with_the_first_plan_without_it_though_that_is_tried_again() -> None:
    draining = Draining[str](6)
    for now in (10, 12, 15):
        assert draining.beside(set(), before={"a"}, now=now) == {"a"}
    assert draining.beside(set(), before=set(), now=16) == set()


def test_what_comes_back_is_wanted_and_drains_anew() -> None:
    draining = Draining[str](6)
    draining.beside(set(), before={"a"}, now=10)
    assert draining.beside({"a"}, before=set(), now=12) == {"a"}
    assert draining.beside({"a"}, before={"a"}, now=20) == {"a"}
    assert draining.beside(set(), before={"a"}, now=21) == {"a"}

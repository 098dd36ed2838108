"""Who is lone: only who has come alone again and again, and not while the loop was held."""

from hypothesis import given
from hypothesis import strategies as st

from service.engine.company import IN_A_ROW, Company


def come_one_by_one(company: Company, times: int) -> None:
    for _ in range(times):
        company.arrive()
        company.leave()


def lone_company() -> Company:
    company = Company()
    come_one_by_one(company, IN_A_ROW)
    return company


def test_nobody_is_lone_before_some_came_one_by_one() -> None:
    company = Company()
    come_one_by_one(company, IN_A_ROW - 1)
    assert not company.lone
    company.arrive()
    assert company.lone


def test_two_who_overlap_have_each_others_company_and_so_have_the_next() -> None:
    company = lone_company()
    company.arrive()
    company.arrive()
    assert not company.lone
    company.leave()
    company.leave()
    come_one_by_one(company, IN_A_ROW - 1)
    assert not company.lone
    company.arrive()
    assert company.lone


def test_who_came_while_the_loop_was_held_has_company_though_the_other_has_left() -> None:
    company = lone_company()
    company.arrive()
    company.hold()
    company.leave()
    company.arrive()
    company.release()
    assert not company.lone


def test_a_loop_that_was_held_and_heard_nobody_changes_nothing() -> None:
    company = lone_company()
    company.hold()
    company.release()
    company.arrive()
    assert company.lone


@given(steps=st.lists(st.sampled_from(["arrive", "leave", "hold", "release"]), max_size=200))
def test_whoever_is_lone_and_some_before_came_to_an_empty_engine_and_a_free_loop(steps: list[str]) -> None:
    company = Company()
    present = held = 0
    came_alone: list[bool] = []
    for step in steps:
        if (step == "leave" and not present) or (step == "release" and not held):
            continue
        if step == "arrive":
            came_alone.append(present == held == 0)
        getattr(company, step)()
        present += (step == "arrive") - (step == "leave")
        held += (step == "hold") - (step == "release")
        assert company.lone == (len(came_alone) >= IN_A_ROW and all(came_alone[-IN_A_ROW:]))

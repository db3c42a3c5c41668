"""The Experiments place, driven key by key on the twin of the desk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tui import sweep_story as story
from tests.tui.test_places import Stage, staged
from textual.widgets import Input, Static

from whet_tui.judging_values import Item, RunState
from whet_tui.screens.study import StudyScreen
from whet_tui.screens.trial_cases import TrialCasesScreen
from whet_tui.sweep_values import (
    Action,
    ComparedCase,
    ComparedCell,
    Dimension,
    FollowUp,
    Found,
    Parameter,
    Phase,
    Trial,
    TrialCase,
    TrialState,
)

GONE = "The server cannot be reached."
EVIL = "\x1b]0;owned\x07\x1b[2J [@click=app.bell]press[/] \u202eesrever"


@asynccontextmanager
async def studied(run_id: str = story.DONE, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """In a study: the one that has ended, or the one that is under way."""
    async with staged(size) as stage:
        await (story.put_ended if run_id == story.DONE else story.put_running)(stage.desk)
        await stage.go("experiments")
        await stage.until(lambda: bool(stage.rows("sweeps").keys))
        await stage.pilot.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, StudyScreen) and bool(stage.rows("trials").keys))
        yield stage


def told(stage: Stage, name: str) -> str:
    """A text in words, wherever its lines break."""
    return " ".join(str(stage.place.query_one(f"#{name}", Static).render()).split())


async def typed(stage: Stage, words: str) -> None:
    """Write into the line that has the focus, over what stands there."""
    line = stage.app.focused
    assert isinstance(line, Input)
    line.value = words
    await stage.pilot.pause()


# The list


async def test_an_empty_place_says_how_to_begin() -> None:
    async with staged() as stage:
        await stage.go("experiments")
        await stage.until_shown("whet sweep")
        await stage.pilot.press("enter")
        assert "No sweep yet." in stage.text()


async def test_a_list_tells_state_verdict_best_trials_and_money_of_each_sweep() -> None:
    async with staged((120, 40)) as stage:
        await story.put_running(stage.desk)
        await story.put_ended(stage.desk)
        await stage.go("experiments")
        await stage.until_shown("✓ better")
        text = stage.text()
        first = next(line for line in text.splitlines() if "Cheaper settings" in line)
        assert first.split("  ")[0].strip() == "› ✓ succeeded"
        for words in ("✓ better", "#7 0.90", "40/40", "$0.70", "1 min", "simulated"):
            assert words in first
        assert "▸ running" in text
        assert "12/40" in text
        assert "against the baseline: +0.05 (+0.01 to +0.09)" in told(stage, "about")


async def test_a_server_that_is_away_is_said_and_the_place_goes_on_when_it_is_back() -> None:
    async with staged() as stage:
        await stage.desk.leave(GONE)
        await stage.pilot.press("alt+9")
        await stage.until_shown(GONE)
        await stage.desk.leave("")
        await story.put_ended(stage.desk)
        stage.place.look_again()
        await stage.until_shown("Cheaper settings")
        assert GONE not in stage.text()


# A study


async def test_trials_come_page_by_page_and_the_best_is_first_and_marked() -> None:
    async with staged() as stage:
        await stage.desk.sweeping.put(story.ended, story.trials(450))
        await stage.go("experiments")
        await stage.pilot.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, StudyScreen))
        await stage.until(lambda: len(stage.rows("trials").keys) == 450)
        assert stage.rows("trials").key == "7"
        assert "best" in stage.text()
        assert "✂ pruned" not in stage.text()
        await stage.pilot.press("end")
        await stage.until(lambda: "✂ pruned · 8 of 60 cases" in told(stage, "trial"))
        assert "after 8 cases it was worse than trial 1, beyond chance" in told(stage, "trial")


async def test_a_sweep_under_way_is_followed_and_says_what_is_left() -> None:
    async with studied(story.RUNNING) as stage:
        for words in ("12 of 40 trials", "4 pruned", "4 running", "512 answers", "32 in flight"):
            assert words in told(stage, "study-progress")
        assert "$1.57 left, ~$0.80 to go · 1 min in · ~2 min to go, max 8 min" in told(stage, "study-progress")
        assert "searching · best so far trial 7: 0.90" in told(stage, "study-head")
        assert len(stage.rows("trials").keys) == 16
        await stage.until(lambda: stage.desk.sweeping.watchers == 1)
        await stage.desk.sweeping.put(story.more(13), [story.trial(12), story.running_trial(16)])
        await stage.until(lambda: "13 of 40 trials" in told(stage, "study-progress"))
        await stage.until(lambda: len(stage.rows("trials").keys) == 17)
        await stage.desk.sweeping.put(story.more(13, phase=Phase.WAITING))
        await stage.until(lambda: "waiting for an outside program" in told(stage, "study-head"))
        done = replace(story.ended, run_id=story.RUNNING)
        await stage.desk.sweeping.put(done, story.trials(40))
        await stage.until(lambda: "✓ better" in told(stage, "study-head"))
        await stage.until(lambda: len(stage.rows("trials").keys) == 40)
        assert "P Pause" not in stage.text()


async def test_a_study_is_left_alone_when_nobody_looks_and_is_there_again_as_it_was() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.until(lambda: stage.desk.sweeping.watchers == 1)
        await stage.pilot.press("down", "space")
        await stage.until_shown("◆")
        await stage.pilot.press("alt+1")
        await stage.until(lambda: stage.desk.sweeping.watchers == 0)
        await stage.desk.sweeping.put(story.more(14), [story.trial(12), story.trial(13)])
        await stage.pilot.press("alt+9")
        await stage.until(lambda: isinstance(stage.app.screen, StudyScreen))
        await stage.until(lambda: "14 of 40 trials" in told(stage, "study-progress"))
        await stage.until_shown("◆")
        await stage.pilot.press("escape")
        await stage.until_shown("A better prompt for support")
        assert not isinstance(stage.app.screen, StudyScreen)
        await stage.pilot.press("escape")
        assert stage.app.screen is stage.chat


async def test_a_trial_that_was_told_to_nobody_is_fetched_at_the_next_looks() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.until(lambda: stage.desk.sweeping.watchers == 1)
        kept = stage.desk.sweeping._kept[story.RUNNING]
        kept.trials |= {12: story.trial(12)}
        kept.sweep = story.more(13)
        stage.place.look_again()
        await stage.until(lambda: "13 of 40" in told(stage, "study-progress"))
        stage.place.look_again()
        screen = stage.app.screen
        assert isinstance(screen, StudyScreen)
        await stage.until(lambda: screen.board.trials[12].state is TrialState.COMPLETE)


async def test_keys_change_the_order_and_a_filter_leaves_out_what_does_not_pass() -> None:
    async with studied() as stage:
        await stage.pilot.press("o")
        await stage.until(lambda: list(stage.rows("trials").keys[:2]) == ["39", "38"])
        assert "latest first" in told(stage, "study-progress")
        await stage.pilot.press("o")
        await stage.until(lambda: list(stage.rows("trials").keys[:2]) == ["0", "1"])
        await stage.pilot.press("o", "o", "slash")
        await typed(stage, "quality>0.845")
        await stage.until(lambda: list(stage.rows("trials").keys) == ["7", "0"])
        await stage.until(lambda: "2 of 40 pass" in told(stage, "study-progress"))
        await typed(stage, "speed>3")
        await stage.until_shown("No trial has speed")
        await typed(stage, "quality>1")
        await stage.until(lambda: "No trial passes the filter." in told(stage, "trial"))
        await stage.pilot.press("escape")
        await stage.until(lambda: len(stage.rows("trials").keys) == 40)
        await stage.pilot.press("n")
        await stage.until(lambda: list(stage.rows("trials").keys) == ["7", "0"])


# Figures and the verdict


async def test_each_figure_is_a_plot_or_the_same_in_words() -> None:
    async with studied(size=(120, 40)) as stage:
        await stage.until_shown("quality, best so far")
        await stage.until_shown("┤")
        await stage.pilot.press("f", "p")
        await stage.until_shown("after 8 trials  #7  0.90")
        assert "┤" not in stage.text()
        await stage.pilot.press("f")
        await stage.until_shown("quality against answer.model")
        await stage.until_shown("sim/large            14  0.72  0.90       6")
        await stage.pilot.press("d")
        await stage.until_shown("0.25 to 0.375             5  0.75  0.78       1")
        await stage.pilot.press("p")
        await stage.until_shown("●● whole")
        await stage.pilot.press("p", "f")
        await stage.until_shown("answer.temperature       71%")
        await stage.pilot.press("f")
        await stage.until_shown("Pareto front: quality and cost")
        await stage.until_shown("#7     0.90  $0.00027")
        await stage.pilot.press("escape")
        await stage.until_shown("✓ complete")


async def test_in_a_small_terminal_the_words_come_first() -> None:
    async with studied() as stage:
        await stage.pilot.press("f")
        await stage.until_shown("after 8 trials  #7  0.90")


async def test_a_verdict_tells_how_sure_it_is_what_got_worse_and_what_could_follow() -> None:
    async with studied() as stage:
        await stage.pilot.press("v")
        await stage.until(lambda: "how sure" in told(stage, "verdict-text"))
        for words in (
            "Trial 7 answers 5 of 100 more cases rightly",
            "trial 7 against the baseline: +0.05 (+0.01 to +0.09) of quality, paired over 59 cases",
            "p = 0.012, corrected for 39 comparisons · the verdict keeps 0.05",
            "6 answered better, 2 worse",
            "↓ case-4 1.00 → 0.00",
            "The last third of the trials brought nothing",
            "because the trials are used up",
            "80 rows of support@3 that nothing was chosen by",
            "difference +0.06 (0.00 to +0.12) over 80 pairs",
            "money estimated $0.90, at most $2.00 · was $0.70",
            "narrow The best temperatures lie between 0.4 and 0.6. · 20 trials",
            "simulated",
        ):
            assert words in told(stage, "verdict-text")
        await stage.pilot.press("escape")
        await stage.until_shown("✓ complete")


async def test_a_verdict_of_no_difference_and_of_costs_is_said_as_such() -> None:
    async with staged() as stage:
        plan = replace(story.plan, objectives=(story.plan.objectives[1],))
        nothing = replace(story.result, verdict=Found.NO_DIFFERENCE, finding="There is no difference worth the name.")
        await stage.desk.sweeping.put(replace(story.ended, plan=plan, result=nothing), story.trials(9))
        await stage.go("experiments")
        await stage.until_shown("= no difference")
        await stage.until(lambda: "below 0 is better" in told(stage, "about"))
        assert "+$0.05 (+$0.01 to +$0.09) of cost" in told(stage, "about")


async def test_a_sweep_under_way_has_no_verdict_yet_and_says_so() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.pilot.press("v")
        await stage.until(lambda: "No verdict yet" in told(stage, "verdict-text"))


# Cases


async def test_cases_of_baseline_and_best_stand_side_by_side_with_those_that_differ_first() -> None:
    async with studied(size=(120, 40)) as stage:
        await stage.pilot.press("c")
        await stage.until_shown("45 cases · scored differently")
        assert isinstance(stage.app.screen, TrialCasesScreen)
        assert list(stage.rows("cases").keys[:2]) == ["case-1", "case-5"]
        line = next(line for line in stage.text().splitlines() if "trial 0 · baseline" in line)
        assert "── trial 7" in line
        assert "delivery" in stage.text()
        assert "It is about refunds, says trial 7." in stage.text()
        await stage.pilot.press("a")
        await stage.until_shown("50 and more cases · all")
        await stage.pilot.press("end")
        await stage.until(lambda: len(stage.rows("cases").keys) == story.CASES)
        await stage.pilot.press("enter")
        assert not stage.rows("cases").display
        await stage.pilot.press("escape", "escape")
        await stage.until(lambda: isinstance(stage.app.screen, StudyScreen))


async def test_marked_trials_are_compared_and_enter_compares_one_with_the_baseline() -> None:
    async with studied(size=(120, 40)) as stage:
        await stage.pilot.press("down", "space", "down", "space", "c")
        await stage.until_shown("#19 complete")
        assert "#0 baseline" in stage.text()
        assert "No case was scored differently. a shows all." in told(stage, "case-text")
        await stage.pilot.press("escape", "home", "enter")
        await stage.until_shown("45 cases · scored differently")


# Steering


async def test_p_pauses_and_goes_on_again() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.pilot.press("P")
        await stage.until(lambda: "paused: nothing new is begun" in told(stage, "study-head"))
        await stage.pilot.press("P")
        await stage.until(lambda: "searching" in told(stage, "study-head"))
        controls = (await stage.desk.sweeping.sweep(story.RUNNING)).controls
        assert [each.action for each in controls] == [Action.PAUSE, Action.RESUME]


@pytest.mark.parametrize(("key", "state"), [("S", RunState.PARTIAL), ("X", RunState.CANCELLED)])
async def test_stopping_and_cancelling_ask_once(key: str, state: RunState) -> None:
    async with studied(story.RUNNING) as stage:
        await stage.pilot.press(key)
        await stage.until_shown(f"Press {key} again to")
        assert not (await stage.desk.sweeping.sweep(story.RUNNING)).ended
        await stage.pilot.press(key)
        await stage.until(lambda: state in told(stage, "study-head"))
        await stage.until(lambda: f"{key} " not in stage.text().splitlines()[-1])


async def test_another_key_between_takes_the_question_back() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.pilot.press("X", "S", "X")
        await stage.until_shown("Press X again")
        assert not (await stage.desk.sweeping.sweep(story.RUNNING)).ended


async def test_a_sweep_is_retuned_by_what_was_changed_in_the_form() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.pilot.press("R")
        await stage.until_shown("cases at once")
        await typed(stage, "five")
        await stage.pilot.press("enter", "enter", "enter")
        await stage.until_shown("five is no amount of money.")
        await stage.pilot.press("up", "up")
        await typed(stage, "3.5")
        await stage.pilot.press("enter")
        await typed(stage, "60")
        await stage.pilot.press("enter", "enter")
        await stage.until_shown("It goes on with these settings.")
        sweep = await stage.desk.sweeping.sweep(story.RUNNING)
        assert (sweep.plan.budget.money, sweep.planned, sweep.concurrency) == (3_500_000_000, 60, 32)
        await stage.until(lambda: "of 60 trials" in told(stage, "study-progress"))
        await stage.pilot.press("R")
        await stage.until_shown("cases at once")
        await stage.pilot.press("escape")
        await stage.until_shown("Nothing was changed.")


async def test_what_the_server_refuses_is_said() -> None:
    async with studied(story.RUNNING) as stage:
        await stage.until(lambda: stage.desk.sweeping.watchers == 1)
        await stage.desk.leave(GONE)
        await stage.pilot.press("P")
        await stage.until_shown(GONE)


# Files


async def test_the_best_configuration_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    async with studied() as stage:
        await stage.pilot.press("E")
        await stage.until_shown("Export the configuration of the best trial")
        target = tmp_path / "best.txt"
        await typed(stage, str(target))
        await stage.pilot.press("enter")
        await stage.until_shown("The ending decides the format: .json, .yaml, .env.")
        target = tmp_path / "best.env"
        await typed(stage, str(target))
        await stage.pilot.press("enter")
        await stage.until_shown("Written to")
        assert "answer.model=sim/large" in target.read_text()
        await stage.pilot.press("E")
        await typed(stage, str(target))
        await stage.pilot.press("enter")
        await stage.until_shown("Enter again writes over it.")
        await stage.pilot.press("escape")


async def test_the_marked_trial_is_exported_and_a_report_is_written(tmp_path: Path) -> None:
    async with studied() as stage:
        await stage.pilot.press("down", "space", "E")
        await stage.until_shown("Export the configuration of trial 0")
        await typed(stage, str(tmp_path / "zero.json"))
        await stage.pilot.press("enter")
        await stage.until((tmp_path / "zero.json").exists)
        assert '"answer.temperature": 0.0' in (tmp_path / "zero.json").read_text()
        await stage.pilot.press("W")
        await stage.until_shown("Report the sweep")
        await typed(stage, str(tmp_path / "nowhere" / "report.md"))
        await stage.pilot.press("enter")
        await stage.until_shown("There is no folder")
        await typed(stage, str(tmp_path / "report.md"))
        await stage.pilot.press("enter")
        await stage.until((tmp_path / "report.md").exists)
        assert "Cheaper settings" in (tmp_path / "report.md").read_text()


# What others wrote


async def test_what_others_wrote_cannot_write_to_the_terminal() -> None:
    parameter = Parameter(name=EVIL, text=EVIL)
    trial = Trial(number=0, state=TrialState.FAILED, parameters=(parameter,), reason=EVIL, failure=EVIL, worker=EVIL)
    other = replace(story.trial(1), parameters=(parameter,), reason=EVIL)
    result = replace(
        story.result,
        finding=EVIL,
        convergence=EVIL,
        best=1,
        regressed=(replace(story.result.regressed[0], case_id=EVIL),),
        importance=(replace(story.result.importance[0], name=EVIL),),
        holdout=replace(story.result.holdout, dataset=EVIL) if story.result.holdout else None,
        follow_ups=(FollowUp(step=EVIL, reason=EVIL),),
    )
    plan = replace(story.plan, origin=EVIL, space=(Dimension(name=EVIL),))
    sweep = replace(story.ended, title=EVIL, plan=plan, result=result, failure=EVIL, best=other, baseline=trial)
    answer = TrialCase(case_id=EVIL, output=EVIL, failure=EVIL)
    cells = (ComparedCell(number=0, answers=(answer,)), ComparedCell(number=1, answers=(replace(answer, score=0.5),)))
    case = ComparedCase(item=Item(item_id=EVIL, input=EVIL, reference=EVIL), cells=cells)
    async with staged((120, 40)) as stage:
        await stage.desk.sweeping.put(sweep, [trial, other], [case])
        await stage.go("experiments")
        seen = []
        for keys in (["enter"], ["v"], ["v", "f"], ["f"], ["f"], ["p"], ["escape", "c"], ["a"]):
            await stage.pilot.pause()
            seen.append(stage.text())
            await stage.pilot.press(*keys)
        await stage.until_shown("press")
        for text in (*seen, stage.text()):
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert any("[@click=app.bell]press[/]" in text for text in seen)

import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
import yaml
from msgspec.structs import replace
from tests.server.sweep.ended import GOING, ITEMS, RECORD, RESULT, RUN, fold

from whet_agent.catalogue import method_named, request_from
from whet_server.fanout.spec import BranchSpec, FanoutSpec, SynthesisMode, SynthesisSpec
from whet_server.judge.spec import Criterion
from whet_server.judging import Item, Judge
from whet_server.rpc.convert.sweep import spec_of
from whet_server.score.spec import CostScorer, ExactScorer, LatencyScorer
from whet_server.sweep.fold import SweepFold
from whet_server.sweep.follow_ups import follow_ups
from whet_server.sweep.report import Quote, Report, report_of, still
from whet_server.sweep.report_html import html
from whet_server.sweep.report_markdown import markdown
from whet_server.sweep.spec import Outside, SweepSpec
from whet_server.sweep.spec_file import spec_text
from whet_server.sweeping import SweepEnd, SweepResult, SweepVerdict, written
from whet_server.values import CallLimits, Message, ModelName, Nanos, Run, RunState, Speaker

CASES = {item.item_id: item for item in ITEMS}
NOW = RUN.create_ns + 5_000_000_000
_VOID = {"meta"}
_INERT = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3", "p", "strong", "code"),
    *("pre", "div", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary"),
    *("svg", "desc", "line", "text", "path", "circle", "rect"),
}


def reported(result: SweepResult | None = RESULT, run: Run = RUN) -> Report:
    return report_of(run, fold(RECORD, result), result.best if result else 2, CASES, now_ns=NOW)


class Page(HTMLParser):
    """Reads a page strictly: every tag is known and closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert tag in _INERT
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_is_balanced_and_nothing_in_it_runs_or_leads_anywhere() -> None:
    written = html(reported())
    page = Page(written)
    allowed = {"class", "id", "role", "aria-labelledby", "lang", "scope", "charset", "name", "content", "http-equiv"}
    drawn = {
        "viewbox",
        "x",
        "y",
        "x1",
        "x2",
        "y1",
        "y2",
        "cx",
        "cy",
        "r",
        "d",
        "width",
        "height",
        "transform",
        "text-anchor",
    }
    assert {name for _, name, _ in page.attributes} <= allowed | drawn
    assert "://" not in re.sub(r"<pre>.*?</pre>", "", written, flags=re.DOTALL)
    assert "url(" not in written


def test_a_policy_lets_a_browser_only_show_the_page() -> None:
    page = Page(html(reported()))
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_hostile_texts_are_shown_and_never_obeyed() -> None:
    written = html(reported())
    assert "alert('x')" in "".join(Page(written).texts)
    assert "<script" not in written
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "[U+202E]evil" in written


def test_every_picture_has_words_and_a_table() -> None:
    written = html(reported())
    pictures = written.count("<svg ")
    assert pictures == 6  # best so far, importance, three dimensions, the front
    assert written.count("<desc ") == written.count("<details>") == pictures
    idents = [value for _, name, value in Page(written).attributes if name == "id"]
    assert len(set(idents)) == len(idents)


def test_the_verdict_comes_first_with_its_interval_and_what_it_means() -> None:
    written = markdown(reported())
    found = written.split("## ")[1]
    assert "**Better than the baseline. Trial 2 is better than the baseline by 0.42 (0.20 to 0.62).**" in found
    assert "with a chance of at most 5%" in found
    assert "0.417 (0.2 to 0.62)" in found
    assert "Simulated" in found


def test_no_difference_is_said_plainly() -> None:
    result = replace(RESULT, verdict=SweepVerdict.NO_DIFFERENCE, finding="Nothing is better.", best=1)
    assert "**No difference. Nothing is better.**" in markdown(reported(result))


def test_the_figure_on_the_hold_out_stands_apart() -> None:
    part = next(part for part in markdown(reported()).split("## ") if part.startswith("On the sealed"))
    assert "30 rows of support@3" in part
    assert "| Difference on 30 rows | 0.3 (0.1 to 0.5) |" in part


def test_estimate_and_actual_stand_beside_each_other() -> None:
    part = next(part for part in markdown(reported()).split("## ") if part.startswith("Estimate"))
    assert r"| Cost | \$0.040000, at worst \$0.090000 | \$0.031000 |" in part
    assert "| Calls | at most 48 | 43 made, 2 answered from the cache |" in part
    assert "| Duration | 20.0 s | 30.0 s |" in part
    assert "| Trials | at most 4 | 4 ended, 1 of them stopped early |" in part


@pytest.mark.parametrize(
    ("run", "result", "says"),
    [
        (GOING, None, "Not concluded: the sweep is under way."),
        (replace(RUN, state=RunState.CANCELLED), None, "Not concluded: the sweep is cancelled."),
        (replace(RUN, state=RunState.CANCELLED), replace(RESULT, end=SweepEnd.CANCELLED), "it was cancelled"),
        (replace(RUN, state=RunState.FAILED), None, "Not concluded: the sweep is failed."),
    ],
)
def test_a_sweep_without_a_good_end_has_its_costs_reported_too(run: Run, result: SweepResult | None, says: str) -> None:
    report = reported(result, run)
    written = markdown(report)
    assert says in written
    costs = next(part for part in written.split("## ") if part.startswith("Estimate"))
    assert costs.count("\n| ") >= 7
    Page(html(report))


def test_the_cost_of_a_sweep_under_way_is_what_its_answers_cost() -> None:
    costs = next(part for part in markdown(reported(None, GOING)).split("## ") if part.startswith("Estimate"))
    assert r"\$0.009000" in costs
    assert "5.0 s so far" in costs


def test_a_sweep_that_goes_on_does_not_change_under_its_report() -> None:
    going = fold(RECORD, None)
    going.trials[3].end = None
    seen = still(going)
    going.trials[3].answers.clear()
    going.trials[0].holdout.update(going.trials[1].answers)
    del going.trials[2]
    costs = next(part for part in _told(seen).split("## ") if part.startswith("Estimate"))
    assert r"\$0.009000" in costs


def _told(seen: SweepFold) -> str:
    return markdown(report_of(GOING, seen, 2, CASES, now_ns=NOW))


def test_a_case_that_became_worse_stands_with_both_answers() -> None:
    part = next(part for part in markdown(reported()).split("## ") if part.startswith("Cases"))
    assert "Case c0 (reference: billing):" in part
    assert "Case c0: baseline, 1.00:\n\n```text\nbilling\n```" in part
    assert "Case c0: best, 0.00:" in part


def test_a_text_with_a_fence_does_not_end_its_own() -> None:
    report = replace(reported(), sections=())
    section = reported().sections[0]

    quoted = replace(section, blocks=(Quote(label="it", text="````\n# not a title\n````"),))
    written = markdown(replace(report, sections=(quoted,)))
    assert "`````text\n````\n# not a title\n````\n`````" in written


def test_words_of_others_form_no_markdown() -> None:
    written = markdown(reported())
    assert written.startswith(r"# Classify \<support\> \| messages")
    assert r"worse than trial 0 \<b\>on 5 cases\</b\>" in written


def test_failures_are_counted_by_how_they_ended() -> None:
    part = next(part for part in markdown(reported()).split("## ") if part.startswith("Failures"))
    assert "| scored | 40 |" in part
    assert "| timed out | 1 |" in part
    assert "| 3 | pruned | 5 |" in part
    assert r"| resume | person |  | \<i\>lunch\</i\> |" in part


def test_the_report_names_the_front_and_what_could_follow() -> None:
    result = replace(RESULT, follow_ups=follow_ups(RECORD, fold(), RESULT))
    written = markdown(reported(result))
    assert "On the front: trial 0: 0.5 at $0.0001; trial 2: 0.917 at $0.0003." in written.replace("\\", "")
    assert "Widen, 10 trials: Classify.temperature is best at 0.98" in written.replace("\\", "")


EVERYTHING = replace(
    RECORD.spec,
    criteria=(
        Criterion(name="right", weight=2.0, scorer=ExactScorer()),
        Criterion(name="fast", scorer=LatencyScorer(target_ns=1_500_000_000), aside=True),
        Criterion(name="cheap", scorer=CostScorer(target=Nanos(2_000_000))),
        Criterion(name="good", judge=Judge(rubric="answer-quality", models=(ModelName("sim/judge"),))),
    ),
    scorers=(),
    limits=CallLimits(first_token=2.5),
    budget=replace(RECORD.spec.budget, time_ns=90_000_000_000, tokens=5000),
    baseline=written({"classify.template": "short", "classify.temperature": 0.5}),
    holdout=True,
    title="a: b # c",
)
FANOUT = replace(
    EVERYTHING,
    pipeline=None,
    fanout=FanoutSpec(
        messages=(Message(role=Speaker.USER, content="Why {{ input }}?"),),
        branches=(BranchSpec(model=ModelName("sim/a"), samples=2),),
        enough=1,
        deadline=3.0,
        synthesis=SynthesisSpec(mode=SynthesisMode.VOTE),
    ),
    dataset=None,
    items=(Item(item_id="c1", input="x\u202ey", reference="z", fields={"k": "v"}),),
)
OUTSIDE = replace(EVERYTHING, pipeline=None, outside=Outside(description="mine", lease=30.0))


@pytest.mark.parametrize("spec", [RECORD.spec, EVERYTHING, FANOUT, OUTSIDE], ids=["small", "all", "fanout", "outside"])
def test_the_spec_in_a_report_begins_the_same_sweep(spec: SweepSpec) -> None:
    text = spec_text(spec)
    assert "\u202e" not in text
    request = request_from(method_named("SweepService", "StartSweep"), {"spec": yaml.safe_load(text)})
    assert spec_of(request.spec) == spec  # type: ignore[attr-defined]  # every request to start has one


def test_ten_thousand_trials_are_thinned_for_the_eye() -> None:
    many = fold()
    last = many.trials[3]
    for number in range(4, 10_000):
        many.trials[number] = type(last)(number, last.parameters, end=replace(last.end, number=number))  # type: ignore[type-var]
    written = html(report_of(RUN, many, 2, CASES, now_ns=NOW))
    assert len(written) < 1_500_000
    assert "9980 more ended" in written

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.tui import story
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from whet_tui.entries import (
    Answer,
    Call,
    CallState,
    Entry,
    Fanout,
    FanoutState,
    Lane,
    LaneState,
    Money,
    Note,
    Said,
    Synthesis,
    dollars,
    money_line,
)
from whet_tui.lanes import hear
from whet_tui.marks import mark, marked_text
from whet_tui.safe import Safe, safe
from whet_tui.widgets.block import Block
from whet_tui.widgets.heights import Heights
from whet_tui.widgets.ink import _contrast, ink_of
from whet_tui.widgets.prose import Flow, laid_out

DARK = ink_of(BUILTIN_THEMES["textual-dark"])
LIGHT = ink_of(BUILTIN_THEMES["textual-light"])

MARKDOWN = """# Title

A paragraph with **bold**, `code` and a [link](http://example.org/path).

- one
- two
  - nested

| a | b |
|---|---|
| 宽 | 2 |

```python
def unit(x):
    return [x]
```

> quoted

1. first
2. second
"""


def finished_fanout() -> Fanout:
    fanout = Fanout()
    for event in story.fanout():
        hear(fanout, event)
    return fanout


def drawn(entry: Entry, width: int = 80, *, unfolded: bool = False) -> list[str]:
    block = Block(entry)
    block.unfolded = unfolded
    return [line.text.rstrip() for line in block.draw(width, DARK, 0)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 40)), max_size=40), st.integers(0, 200))
def test_stacked_heights_answer_like_a_plain_sum(steps: list[tuple[bool, int, int]], line: int) -> None:
    heights, plain = Heights(), list[int]()
    for append, place, height in steps:
        if append or not plain:
            heights.append(height)
            plain.append(height)
        else:
            heights.set(place % len(plain), height)
            plain[place % len(plain)] = height
        assert heights.total == sum(plain)
        assert [heights.start(at) for at in range(len(plain))] == [sum(plain[:at]) for at in range(len(plain))]
    covering = [at for at in range(len(plain)) if sum(plain[:at]) <= line < sum(plain[: at + 1])]
    assert heights.at(line) == (covering[0] if covering else len(plain))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.sampled_from([24, 60, 100]))
@settings(deadline=None, max_examples=40)
def test_markdown_that_grows_ends_as_if_it_had_come_at_once(sizes: list[int], width: int) -> None:
    flow, end = Flow(), 0
    for size in sizes:
        end = min(len(MARKDOWN), end + size)
        flow.lines(Safe(MARKDOWN[:end]), width, DARK)
    grown = [line.text.rstrip() for line in flow.lines(Safe(MARKDOWN), width, DARK)]
    assert grown == [line.text.rstrip() for line in Flow().lines(Safe(MARKDOWN), width, DARK)]


@given(st.text(alphabet="ab*_`[]()#>-|!<&\n 1.\t宽🙂~\\", max_size=300), st.integers(1, 120))
@settings(deadline=None, max_examples=200)
def test_any_markdown_fits_any_width(source: str, width: int) -> None:
    block = Block(Answer(key="a", turn=1, text=source, author="mind", done=True))
    assert all(line.cell_length == width for line in block.draw(width, DARK, 0))


def test_markdown_keeps_its_parts() -> None:
    lines = [line.text.rstrip() for line in laid_out(Safe(MARKDOWN), 60, DARK)]
    text = "\n".join(lines)
    for words in ("# Title", "bold", "(http://example.org/path)", "• one", "宽", "def unit(x):", "1 first"):
        assert words in text


def test_code_written_by_a_model_is_not_read_as_markup() -> None:
    lines = drawn(Answer(key="a", turn=1, text="[@click=app.quit]press[/] [bold]no[/bold]", author="m", done=True))
    assert "[@click=app.quit]press[/] [bold]no[/bold]" in "\n".join(lines)


def test_what_an_entity_stands_for_passes_the_door_too() -> None:
    text = "".join(strip.text for strip in laid_out(safe("a&#x202e;b&#12;c&#x200b;d&#27;e `&#x9b;`"), 80, DARK))
    assert not set(text) & set("\u202e\x0c\u200b\x1b\x9b")


def test_tags_are_words() -> None:
    strips = laid_out(safe("<think>I doubt it</think>\n\n<div>\nyes\n</div>"), 80, DARK)
    assert [strip.text.rstrip() for strip in strips] == ["<think>I doubt it</think>", "", "<div> yes </div>"]


def test_a_link_is_written_out_and_gives_the_terminal_nothing_to_click() -> None:
    strips = laid_out(safe("[my bank](http://evil.example/)"), 80, DARK)
    assert "my bank (http://evil.example/)" in strips[0].text
    assert all(
        segment.style is None or (segment.style.link is None and not segment.style.meta) for segment in strips[0]
    )


def test_only_the_lines_that_changed_are_made_anew() -> None:
    answer = Answer(key="a", turn=1, text=MARKDOWN * 20)
    block = Block(answer)
    before = list(block.draw(80, DARK, 0))
    answer.text += "one more word"
    after = block.draw(80, DARK, 0)
    same = sum(old is new for old, new in zip(before, after, strict=False))
    assert same > len(before) - 10


def test_a_running_fanout_shows_a_row_a_branch_and_the_growing_draft() -> None:
    fanout = Fanout()
    for event in story.fanout():
        hear(fanout, event)
        if event.WhichOneof("payload") == "draft_delta":
            break
    lines = drawn(Call(key="c", turn=1, tool="fanout", fanout=fanout), 100)
    assert "2 of 3 in" in lines[0]
    assert "simulated" in lines[0]
    assert "✓ done" in lines[1]
    assert "local/smollm2" in lines[1]
    assert "A monad chains steps." in lines[1]
    assert "sim/fast simulated" in lines[2]
    assert "· planned" in lines[3]
    assert "draft 1 · of ¹·² · by sim/fast · streaming · simulated" in lines[4]
    assert lines[5].strip() == "A mona"


def test_a_finished_fanout_folds_to_its_answer_with_sources() -> None:
    text = "\n".join(drawn(Call(key="c", turn=1, tool="fanout", state=CallState.DONE, fanout=finished_fanout()), 100))
    assert "A monad chains steps.¹·² It has unit and bind.³ Nobody is sure of the laws.⁰" in text
    assert "Said by ¹ local/smollm2 · ² sim/fast simulated · ³ sim/slow simulated (partial)" in text
    assert "3 sentences: 1 said by several branches, 1 by one only, 1 by none ⁰" in text
    assert "≠ ¹ and ² differ (number): “There are three laws.” – “There are 4 laws.”" in text
    assert "only ³ says, left out of the answer: “A monad is a burrito.”" in text
    assert f"$0.00123 + $0.0005 unknown · 120 + 310 tokens · {story.RUN}" in text
    assert "There are three laws. " not in text


def test_the_sources_of_a_large_panel_are_those_that_the_answer_names() -> None:
    fanout = finished_fanout()
    for number in range(4, 41):
        fanout.lanes[f"x{number}"] = Lane(branch_id=f"x{number}", number=number, model="m", state=LaneState.DONE)
    call = Call(key="c", turn=1, tool="fanout", state=CallState.DONE, fanout=fanout)
    text = "\n".join(drawn(call, 120))
    assert "¹ local/smollm2 · ² sim/fast simulated · ³ sim/slow simulated (partial) · 37 more: Ctrl+O" in text
    assert "⁴⁰ m" in "\n".join(drawn(call, 120, unfolded=True))


def test_a_run_without_an_answer_says_why_once_and_names_no_sources() -> None:
    fanout = finished_fanout()
    fanout.state, fanout.failure = FanoutState.CANCELLED, "Cancelled as asked."
    fanout.synthesis = Synthesis(state=LaneState.CANCELLED, text="", revision=0, failure="Cancelled as asked.")
    text = "\n".join(drawn(Call(key="c", turn=1, tool="fanout", state=CallState.CANCELLED, fanout=fanout), 100))
    assert text.count("Cancelled as asked.") == 1
    assert "Said by" not in text


def test_a_long_message_is_shown_by_its_beginning_until_it_is_unfolded() -> None:
    said = Said(key="s", turn=1, text="\n".join(f"line {number}" for number in range(400)))
    lines = drawn(said)
    assert lines[0] == "❯ line 0"
    assert lines[-2:] == ["  … and 388 lines more: Ctrl+O", ""]
    assert len(lines) == 14
    assert len(drawn(said, unfolded=True)) == 401


def test_voices_of_one_model_are_told_by_their_personas() -> None:
    fanout = finished_fanout()
    for lane in fanout.lanes.values():
        lane.model, lane.persona = "local/smollm2", f"Voice {lane.number}"
    text = " ".join(drawn(Call(key="c", turn=1, tool="fanout", state=CallState.DONE, fanout=fanout), 100))
    assert "Said by local/smollm2 as ¹ “Voice 1” · ² “Voice 2” simulated · ³ “Voice 3” simulated (partial)" in text


def test_a_small_panel_shows_the_latest_words_of_who_is_talking() -> None:
    fanout = Fanout(run_id="fan_1", opened_ns=1)
    words = [f"w{number}" for number in range(2000)]
    fanout.lanes["b1"] = Lane(branch_id="b1", number=1, model="m", state=LaneState.STREAMING, text=" ".join(words))
    lines = drawn(Call(key="c", turn=1, tool="fanout", fanout=fanout), 60)
    assert len([line for line in lines if line]) == 4
    assert lines[3].endswith("w1999")
    assert max(map(cell_len, lines)) <= 60
    fanout.lanes["b1"].state = LaneState.DONE
    assert len([line for line in drawn(Call(key="c", turn=1, tool="fanout", fanout=fanout), 60) if line]) == 2


def test_a_large_panel_shows_who_talks_and_who_failed_and_counts_the_rest() -> None:
    fanout = Fanout(run_id="fan_1", opened_ns=1)
    for number in range(1, 41):
        fanout.lanes[f"b{number}"] = Lane(branch_id=f"b{number}", number=number, model="m", state=LaneState.DONE)
    fanout.lanes["b17"].state = LaneState.FAILED
    fanout.lanes["b39"].state = LaneState.STREAMING
    call = Call(key="c", turn=1, tool="fanout", fanout=fanout)
    lines = drawn(call, 80)
    assert len(lines) == 11
    assert any(line.lstrip().startswith("17 ✗ failed") for line in lines)
    assert any(line.lstrip().startswith("39 ▸ streaming") for line in lines)
    assert lines[-2].strip() == "▸ 1 streaming · ✓ 38 done · ✗ 1 failed · 8 of 40 shown, all: Ctrl+O"
    assert sum("done" in line for line in drawn(call, 80, unfolded=True)) >= 38


def test_what_is_said_beside_the_point_keeps_its_colour() -> None:
    for level, style in (("info", DARK.muted), ("warning", DARK.warning), ("error", DARK.bad)):
        line = Block(Note(key="n", level=level, text="one\ntwo")).draw(40, DARK, 0)[1]  # type: ignore[arg-type]
        assert next(s for s in line if "two" in s.text).style == DARK.base + style


def test_a_folded_result_is_told_in_words_without_the_marks_of_markdown() -> None:
    result = "**caps**\n\n| cap | limit |\n| --- | --- |\n| day | $5.00 |"
    call = Call(key="c", turn=1, tool="list_caps", arguments_json="{}", state=CallState.DONE, result=result)
    assert drawn(call) == ["✓ list_caps · done", "  caps; cap · limit; day · $5.00", ""]


def test_an_id_in_a_table_is_never_cut() -> None:
    run = "fan_01m7x7pdbgz41m7k58s36wqxra"
    table = (
        f"| run id | title | state | a | b |\n|---|---|---|---|---|\n| {run} | {'word ' * 20} | {'x' * 30} | 1 | 2 |"
    )
    assert run in "\n".join(line.text for line in laid_out(Safe(table), 76, DARK))
    folded = "".join("".join(line.text.split()) for line in laid_out(Safe(table), 50, DARK))
    assert "…" not in folded


def test_a_result_that_the_answer_repeats_is_not_drawn_twice() -> None:
    call = Call(key="c", turn=1, tool="list_caps", arguments_json="{}", state=CallState.DONE, result="no caps")
    assert "no caps" in "\n".join(drawn(call))
    call.repeated = True
    assert drawn(call) == ["✓ list_caps · done", ""]
    assert "no caps" in "\n".join(drawn(call, unfolded=True))


def test_unfolded_it_shows_every_branch_in_full() -> None:
    call = Call(key="c", turn=1, tool="fanout", state=CallState.DONE, fanout=finished_fanout())
    text = "\n".join(drawn(call, 100, unfolded=True))
    assert story.TEXTS["b1"] in text
    assert story.TEXTS["b2"] in text
    assert "The stream was cut. Ask again." in text


@given(st.integers(1, 200), st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_a_fanout_fits_any_width_at_any_moment(width: int, moment: int) -> None:
    fanout = Fanout()
    for place, event in enumerate(story.fanout()):
        hear(fanout, event)
        if place == moment:
            break
    for unfolded in (False, True):
        block = Block(Call(key="c", turn=1, tool="fanout", fanout=fanout))
        block.unfolded = unfolded
        assert all(line.cell_length == width for line in block.draw(width, DARK, 0))


def test_the_word_simulated_is_never_cut_by_a_long_name() -> None:
    fanout = finished_fanout()
    for lane in fanout.lanes.values():
        lane.model, lane.simulated = "sim/" + "x" * 200, True
    for width in (60, 80, 120):
        lines = drawn(Call(key="c", turn=1, tool="fanout", fanout=fanout), width, unfolded=True)
        assert sum("simulated" in line for line in lines if "✓ done" in line and "──" not in line) == 2


def test_a_tools_answer_is_one_line_until_it_is_unfolded() -> None:
    call = Call(key="c", turn=1, tool="list_fanouts", arguments_json="{}", state=CallState.DONE, result='{"a": [1, 2]}')
    assert len(drawn(call)) == 3
    assert '    "a": [' in drawn(call, unfolded=True)


def test_marks_name_the_branches_and_stay_out_of_code() -> None:
    assert mark([1, 12]) == "¹·¹²"
    assert mark([]) == "⁰"
    assert mark([1, 2, 3, 4, 5]) == "¹·²·³·⁴⁺"
    fanout = finished_fanout()
    assert fanout.synthesis is not None
    assert marked_text(fanout) == "A monad chains steps.¹·² It has unit and bind.³ Nobody is sure of the laws.⁰"


def test_money_that_is_unknown_is_named_and_little_money_is_not_nothing() -> None:
    assert [dollars(nanos) for nanos in (0, 1, 410_000, 12_000_000, 3_100_000_000)] == [
        "$0",
        "$0.000000001",
        "$0.00041",
        "$0.01",
        "$3.10",
    ]
    assert money_line(Money(settled=0, unknown=500_000)) == "$0 + $0.0005 unknown"


def test_contrast_is_measured_as_the_guidelines_do() -> None:
    assert _contrast(Color(255, 255, 255), Color(0, 0, 0)) == 21.0
    assert round(_contrast(Color(118, 118, 118), Color(255, 255, 255)), 2) == 4.54


def test_body_text_and_every_colour_can_be_read_in_both_themes() -> None:
    for name, ink in (("textual-dark", DARK), ("textual-light", LIGHT)):
        ground = Color.parse(BUILTIN_THEMES[name].to_color_system().generate()["background"])
        for style in (ink.base, ink.muted, ink.you, ink.accent, ink.good, ink.warning, ink.bad, ink.simulated):
            assert style.color is not None
            assert _contrast(ground, Color.from_rich_color(style.color)) >= 4.5, (name, style)


def test_what_is_copied_is_the_markdown_it_was_drawn_from() -> None:
    assert Block(Answer(key="a", turn=1, text=MARKDOWN, done=True)).source() == MARKDOWN
    assert Block(Said(key="s", turn=1, text="hello")).source() == "hello"
    assert "¹·²" in Block(Call(key="c", turn=1, fanout=finished_fanout())).source()


def test_notes_say_their_level_by_a_glyph_too() -> None:
    assert [drawn(Note(key="n", level=level, text="words"))[0] for level in ("info", "warning", "error")] == [
        "· words",
        "! words",
        "✗ words",
    ]


def test_lanes_have_a_glyph_and_a_word_for_each_state() -> None:
    from whet_tui.widgets.lane_table import GLYPHS

    assert set(GLYPHS) == set(LaneState)
    assert all(cell_len(glyph) == 1 for glyph in GLYPHS.values())

"""The chat on a scripted session, driven key by key."""

import asyncio
from dataclasses import replace

from tests.tui import story
from tests.tui.rehearsal import Stage, card, no_desk, staged

from whet_agent.events import (
    ApprovalDecided,
    AssistantSaid,
    MindSaid,
    RunHeard,
    ToolAsked,
    TurnEnded,
    UserSaid,
)
from whet_tui.application import ChatApp, clipboard, passed_through
from whet_tui.bridge import ChatSession, NotOpened, Progress
from whet_tui.memory_shelf import MemoryShelf
from whet_tui.screens.help import HelpScreen
from whet_tui.scripted import ScriptedSession
from whet_tui.surroundings import Surroundings
from whet_tui.widgets.approval_tray import GRACE
from whet_tui.widgets.status_line import StatusLine
from whet_tui.widgets.transcript import Transcript


async def test_the_first_words_say_what_this_is_who_answers_and_what_to_type() -> None:
    async with staged() as stage:
        await stage.until_shown("Whet asks several models")
        await stage.until_shown("The panel that answers: sim/one, sim/two.")
        await stage.until_shown("Try: What is a hash table good for?")
        await stage.session.open(panel=("local/smollm2",))
        await stage.until_shown("Here local/smollm2 answers, in several voices: free, small, often wrong.")
        assert sum("Whet asks" in line for line in stage.lines()) == 1


async def title_of_a_crash() -> str:
    return "What is a \x1b[31mmonad?"


async def test_the_first_words_tell_of_a_conversation_that_was_cut_short() -> None:
    async with staged(around=Surroundings(crashed=title_of_a_crash)) as stage:
        await stage.until_shown("“What is a monad?” was cut short; nothing of it is lost: Ctrl+R takes it up.")


async def test_a_message_is_sent_on_enter_and_stands_in_the_conversation() -> None:
    async with staged() as stage:
        await stage.say("what is a monad")
        assert stage.session.sent == ["what is a monad"]
        await stage.until_shown("❯ what is a monad")
        assert stage.composer.text == ""


async def test_ctrl_j_breaks_the_line_and_does_not_send() -> None:
    async with staged() as stage:
        await stage.type("one")
        await stage.pilot.press("ctrl+j")
        await stage.say("two")
        assert stage.session.sent == ["one\ntwo"]


async def test_words_appear_as_they_stream_and_the_whole_answer_replaces_them() -> None:
    async with staged() as stage:
        await stage.say("hello")
        await stage.session.tell(MindSaid(turn=1, step=1, attempt=1, offset=0, text="Good mor"))
        await stage.until_shown("Good mor")
        await stage.session.tell(AssistantSaid(turn=1, step=1, text="Good **morning**", author="scripted mind"))
        await stage.until_shown("Good morning")


async def test_a_fanout_is_watched_live_and_unfolds_to_its_branches() -> None:
    async with staged((100, 40)) as stage:
        await stage.say("ask three models")
        await stage.session.tell(ToolAsked(turn=1, key="k", tool="fanout", arguments_json="{}"))
        for event in story.fanout():
            await stage.session.tell(RunHeard(turn=1, key="k", run_id=story.RUN, event=event))
        await stage.until_shown("A monad chains steps.¹·²")
        assert not any("── 1 local/smollm2" in line for line in stage.lines())
        await stage.pilot.press("ctrl+o")
        await stage.until_shown("── 1 local/smollm2")
        await stage.pilot.press("ctrl+o")
        await stage.until(lambda: not any("── 1 local/smollm2" in line for line in stage.lines()))


async def test_a_click_on_the_headline_unfolds() -> None:
    async with staged((100, 40)) as stage:
        await stage.say("ask three models")
        for event in story.fanout():
            await stage.session.tell(RunHeard(turn=1, key="k", run_id=story.RUN, event=event))
        await stage.until_shown("A monad chains steps.¹·²")
        headline = next(y for y, line in enumerate(stage.lines()) if "2 of 3 answered" in line)
        await stage.pilot.click(Transcript, offset=(10, headline))
        await stage.until_shown("── 1 local/smollm2")


async def test_escape_cancels_the_running_turn_once_and_says_so() -> None:
    async with staged() as stage:
        await stage.say("hello")
        await stage.until(lambda: "working" in stage.status())
        await stage.pilot.press("escape", "escape")
        await stage.until(lambda: "cancelling" in stage.status())
        await stage.session.tell(TurnEnded(turn=1, state="cancelled"))
        await stage.until_shown("Cancelled.")
        assert stage.session.cancels == 1
        await stage.until(lambda: "cancelling" not in stage.status())


async def test_escape_with_nothing_to_cancel_does_nothing() -> None:
    async with staged() as stage:
        await stage.pilot.press("escape")
        assert stage.session.cancels == 0


async def test_messages_sent_while_a_turn_runs_wait_in_view() -> None:
    async with staged() as stage:
        await stage.say("first")
        await stage.say("second")
        queue = stage.chat.query_one("#queue")
        await stage.until(lambda: bool(queue.display))
        assert stage.session.sent == ["first", "second"]
        assert not any("❯ second" in line for line in stage.lines())
        await stage.session.tell(TurnEnded(turn=1, state="done"))
        await stage.until_shown("❯ second")
        assert not queue.display


async def test_each_turn_has_its_own_running_time() -> None:
    async with staged() as stage:
        status = stage.chat.query_one(StatusLine)
        await stage.say("first")
        await stage.say("second")
        await stage.until(lambda: "working" in stage.status())
        first = status._since_ns
        await stage.session.tell(TurnEnded(turn=1, state="done"))
        await stage.until(lambda: status._since_ns > first)
        assert "working" in stage.status()


async def test_a_card_shows_everything_that_is_approved() -> None:
    async with staged() as stage:
        await stage.say("go")
        await stage.session.tell(card("apr_1", arguments='{"prompt": "\\u001b]0;x\\u0007 [bold]all[/bold]"}'))
        await stage.until(lambda: bool(stage.tray.display))
        text = stage.card_text()
        for words in (
            "fanout",
            "Ask several models",
            "spends",
            "at most $3.10",
            "12:30:00",
            "0123456789ab",
            "[bold]all[/bold]",
        ):
            assert words in text
        assert "\x1b]" not in text
        assert stage.app.focused is stage.composer


async def test_typing_while_a_card_appears_decides_nothing() -> None:
    async with staged() as stage:
        await stage.say("go")
        await stage.press("thou")
        await stage.session.tell(card("apr_1"))
        await stage.until(lambda: bool(stage.tray.display))
        stage.now += GRACE * 10
        await stage.press("ght yn")
        await stage.pilot.press("enter", "y", "n", "tab", "space", "enter")
        assert stage.session.decisions == []


async def test_a_chord_within_the_grace_is_swallowed_and_after_it_decides() -> None:
    async with staged() as stage:
        await stage.say("go")
        await stage.session.tell(card("apr_1"))
        await stage.until(lambda: bool(stage.tray.display))
        await stage.pilot.press("ctrl+y", "ctrl+n")
        stage.now += GRACE - 0.01
        await stage.pilot.press("ctrl+y")
        assert stage.session.decisions == []
        stage.now += 0.02
        await stage.pilot.press("ctrl+y")
        await stage.session.until_asked(1, "decisions")
        assert stage.session.decisions == [("apr_1", True)]


async def test_the_next_card_has_a_grace_of_its_own() -> None:
    async with staged() as stage:
        await stage.say("go")
        await stage.session.tell(card("apr_1"), card("apr_2"))
        await stage.until(lambda: bool(stage.tray.display))
        stage.now += GRACE + 0.01
        await stage.pilot.press("ctrl+n", "ctrl+n", "ctrl+y")
        await stage.session.tell(ApprovalDecided(turn=1, key="s/1/apr_1", approval_id="apr_1", granted=False))
        await stage.until(lambda: stage.tray.card is not None and stage.tray.card.approval_id == "apr_2")
        await stage.pilot.press("ctrl+y")
        assert stage.session.decisions == [("apr_1", False)]
        stage.now += GRACE + 0.01
        await stage.pilot.press("ctrl+y")
        await stage.session.until_asked(2, "decisions")
        assert stage.session.decisions == [("apr_1", False), ("apr_2", True)]


async def test_the_chords_belong_to_the_composer_while_no_card_is_open() -> None:
    async with staged() as stage:
        await stage.pilot.press("ctrl+y", "ctrl+n")
        assert stage.session.decisions == []
        assert not stage.tray.display


async def test_what_is_typed_before_the_session_is_there_is_sent_when_it_is() -> None:
    session = ScriptedSession()
    curtain = asyncio.Event()

    async def opener(progress: Progress) -> ChatSession:
        progress("starting the server")
        await curtain.wait()
        await session.open()
        return session

    app = ChatApp(opener, no_desk, MemoryShelf())
    async with app.run_test(size=(80, 24)) as pilot:
        stage = Stage(app, pilot, session)
        await stage.until(lambda: "starting the server" in stage.status())
        await stage.type("early")
        await pilot.press("enter")
        await stage.type("half")
        assert session.sent == []
        curtain.set()
        await stage.until_shown("❯ early")
        assert session.sent == ["early"]
        assert stage.composer.text == "half"


async def test_a_session_that_does_not_open_says_why_and_is_tried_again() -> None:
    session = ScriptedSession()
    tries = 0

    async def opener(progress: Progress) -> ChatSession:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise NotOpened("No server answers. Its log is in /nowhere.")
        await session.open()
        return session

    app = ChatApp(opener, no_desk, MemoryShelf())
    async with app.run_test(size=(80, 24)) as pilot:
        stage = Stage(app, pilot, session)
        await stage.until_shown("No server answers.")
        await stage.type("again")
        await pilot.press("enter")
        await stage.until_shown("❯ again")


async def test_up_and_down_walk_through_what_was_sent() -> None:
    async with staged() as stage:
        await stage.say("first")
        await stage.say("second")
        await stage.type("third")
        await stage.pilot.press("up")
        assert stage.composer.text == "second"
        await stage.pilot.press("up", "up")
        assert stage.composer.text == "first"
        await stage.pilot.press("down", "down")
        assert stage.composer.text == "third"


async def test_a_command_is_offered_and_completed() -> None:
    async with staged() as stage:
        await stage.type("/fan")
        offer = stage.chat.query_one("#offer")
        await stage.until(lambda: bool(offer.display))
        await stage.pilot.press("tab")
        assert stage.composer.text == "/fanout "
        await stage.until(lambda: not offer.display)


async def test_help_opens_and_closes() -> None:
    async with staged() as stage:
        await stage.pilot.press("f1")
        assert isinstance(stage.app.screen, HelpScreen)
        await stage.pilot.press("escape")
        assert len(stage.app.screen_stack) == 1


async def test_a_letter_typed_while_the_conversation_has_the_focus_is_not_lost() -> None:
    async with staged() as stage:
        await stage.pilot.press("tab")
        assert stage.app.focused is stage.transcript
        await stage.press("hi")
        assert stage.composer.text == "hi"


async def test_ctrl_c_clears_then_warns_then_quits() -> None:
    async with staged() as stage:
        await stage.type("unwanted")
        await stage.pilot.press("ctrl+c")
        assert stage.composer.text == ""
        await stage.pilot.press("ctrl+c")
        assert "again to quit" in stage.status()
        await stage.press("x")
        await stage.pilot.press("ctrl+c", "ctrl+c")
        assert not stage.session.closed
        await stage.pilot.press("ctrl+c")
        await stage.until(lambda: stage.session.closed)


async def test_copying_gives_the_markdown_of_the_last_answer() -> None:
    async with staged() as stage:
        await stage.say("hello")
        await stage.session.tell(
            AssistantSaid(turn=1, step=1, text="Good **morning**", author="m"), TurnEnded(turn=1, state="done")
        )
        await stage.until_shown("Good morning")
        await stage.say("/copy")
        assert stage.app.clipboard == "Good **morning**"


def test_tmux_gets_the_clipboard_in_a_wrapping_that_gives_the_bare_sequence_back() -> None:
    bare = clipboard("Good **morning**")
    assert bare == "\x1b]52;c;R29vZCAqKm1vcm5pbmcqKg==\x07"
    wrapped = passed_through(bare)
    assert wrapped.startswith("\x1bPtmux;")
    assert wrapped.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b") == bare


async def test_a_card_says_in_dollars_what_stands_in_nanos_and_never_calls_an_unknown_price_nothing() -> None:
    async with staged() as stage:
        unpriced = replace(card("apr_1", arguments='{"limit": {"nanos": "5000000000"}}'), worst_cost_nanos=0)
        await stage.session.tell(UserSaid(turn=1, text="x"), unpriced)
        await stage.until(lambda: '"nanos": "5000000000"   = $5.00' in stage.card_text())
        assert "spends · price unknown" in stage.card_text()
        await stage.session.tell(replace(unpriced, approval_id="apr_2", effect="changes", digest="b"))
        await stage.session.tell(ApprovalDecided(turn=1, key="s/1/apr_1", approval_id="apr_1", granted=True))
        await stage.until(lambda: "changes · costs nothing" in stage.card_text())


async def test_a_selection_of_whole_blocks_copies_their_source_and_of_words_the_words() -> None:
    async with staged() as stage:
        await stage.say("hello")
        await stage.session.tell(AssistantSaid(turn=1, step=1, text="Good **morning** to you", author="m"))
        await stage.until_shown("Good morning to you")
        lines = stage.lines()
        row = next(y for y, line in enumerate(lines) if "Good morning" in line)
        await stage.pilot.mouse_down(
            Transcript, offset=(1, next(y for y, line in enumerate(lines) if "❯ hello" in line))
        )
        await stage.pilot.hover(Transcript, offset=(30, row + 1))
        await stage.pilot.mouse_up(Transcript, offset=(30, row + 1))
        assert stage.chat.get_selected_text() == "hello\n\nGood **morning** to you"
        await stage.pilot.mouse_down(Transcript, offset=(3, row))
        await stage.pilot.hover(Transcript, offset=(15, row))
        await stage.pilot.mouse_up(Transcript, offset=(15, row))
        assert stage.chat.get_selected_text() == "Good morning"


async def test_scrolling_up_holds_the_view_still_while_words_arrive() -> None:
    async with staged((80, 20)) as stage:
        for turn in range(1, 40):
            await stage.session.tell(
                AssistantSaid(turn=turn, step=1, text=f"answer {turn}\n\nwith two paragraphs", author="m")
            )
        await stage.until_shown("answer 39")
        await stage.pilot.press("pageup", "pageup")
        before = stage.lines()
        await stage.session.tell(AssistantSaid(turn=40, step=1, text="the newest", author="m"))
        await stage.until(lambda: len(stage.transcript._blocks) == 41 and not stage.transcript._changed)
        assert stage.lines() == before
        await stage.pilot.press("ctrl+end")
        await stage.until_shown("the newest")
        assert stage.transcript.following


async def test_only_what_is_near_the_view_is_laid_out() -> None:
    async with staged((80, 20)) as stage:
        for turn in range(1, 1_001):
            await stage.session.tell(AssistantSaid(turn=turn, step=1, text=f"answer {turn}", author="m"))
        await stage.until_shown("answer 1000")
        assert sum(block.lines is not None for block in stage.transcript._blocks) < 50
        stage.app.theme = "textual-light"
        await stage.pilot.pause()
        assert sum(block.lines is not None for block in stage.transcript._blocks) < 50
        await stage.pilot.resize_terminal(60, 20)
        await stage.until_shown("answer 1000")


async def test_nothing_ticks_when_nothing_happens() -> None:
    async with staged() as stage:
        await stage.say("hello")
        await stage.session.tell(TurnEnded(turn=1, state="done"))
        await stage.until(lambda: "working" not in stage.status() and not stage.transcript._changed)
        widgets = [stage.app, stage.chat, *stage.chat.query("*")]
        await stage.until(
            lambda: not [timer for widget in widgets for timer in widget._timers if timer._active.is_set()]
        )


async def test_the_chat_fits_a_small_terminal() -> None:
    for size in ((60, 20), (80, 24), (20, 8)):
        async with staged(size) as stage:
            await stage.say("ask")
            for event in story.fanout():
                await stage.session.tell(RunHeard(turn=1, key="k", run_id=story.RUN, event=event))
            await stage.session.tell(card("apr_1"))
            await stage.until(lambda: bool(stage.tray.display))
            assert stage.composer.region.bottom <= size[1]
            assert stage.composer.size.height >= 1

import re

import pytest

from whet_server.fanout.prompts import draft_messages
from whet_server.llm import sim
from whet_server.llm.sim.prose import answer
from whet_server.llm.sim.topic import topic
from whet_server.log.events import BranchFinished
from whet_server.log.lifecycle import BranchState
from whet_server.values import BranchId, Message, ModelName, Parameters, Speaker

PANEL = ("sim/fast", "sim/steady", "sim/contrarian")


def asked(question: str) -> tuple[Message, ...]:
    return (Message(role=Speaker.USER, content=question),)


def said(model: str, question: str = "Why do cats purr?", parameters: Parameters = Parameters()) -> str:
    return answer(sim.parse(model), asked(question), parameters)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.)\s+", text)


def branch(number: int, text: str) -> BranchFinished:
    return BranchFinished(
        branch_id=BranchId(f"b{number}"), state=BranchState.DONE, model=ModelName("sim/fast"), text=text
    )


def test_the_same_seed_messages_and_parameters_give_the_same_text() -> None:
    assert said("sim/any?seed=4&tokens=300") == said("sim/any?seed=4&tokens=300")


def test_another_seed_another_parameter_or_another_message_gives_another_text() -> None:
    texts = {
        said("sim/any?seed=4"),
        said("sim/any?seed=5"),
        said("sim/any?seed=4", parameters=Parameters(seed=1)),
        said("sim/any?seed=4", "Why do dogs bark?"),
    }
    assert len(texts) == 4


def test_a_panel_shares_claims_differs_in_numbers_and_one_denies_what_the_others_open_with() -> None:
    one, two, contrary = (sentences(said(f"{model}?tokens=90")) for model in PANEL)
    assert one[0] == two[0]
    assert contrary[0] != one[0]
    added = set(re.findall(r"\w+", contrary[0])) - set(re.findall(r"\w+", one[0]))
    assert added & {"not", "never"}
    claims = [{re.sub(r"\d+", "#", claim) for claim in answer[1:]} for answer in (one, two, contrary)]
    assert claims[0] & claims[1] & claims[2]
    figures = [set(re.findall(r"\d+", " ".join(answer))) for answer in (one, two, contrary)]
    assert len({frozenset(found) for found in figures}) > 1


@pytest.mark.parametrize("tokens", [24, 80, 600, 5_000])
def test_an_answer_is_whole_sentences_up_to_the_tokens_asked_for(tokens: int) -> None:
    text = said(f"sim/any?tokens={tokens}")
    assert tokens - 30 < len(text.split()) <= tokens
    assert text.endswith(".")
    assert "{" not in text


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("What is a monad?", "a monad"),
        ("Why do cats purr?", "why cats purr"),
        ("why is the sky blue", "why the sky is blue"),
        ("Please explain how TCP congestion control works in two sentences.", "how TCP congestion control works"),
        ("Should I use tabs or spaces?", "whether to use tabs or spaces"),
        ("Name three uses of a brick", "uses of a brick"),
        ("Compare Rust and Go for servers", "Rust and Go for servers"),
        ("Review my essay: It was a dark night.", "your essay"),
        ("???", "this question"),
        ("", "this question"),
    ],
)
def test_a_question_is_about_its_own_words(question: str, phrase: str) -> None:
    assert topic(question).phrase == phrase
    assert phrase in said("sim/any", question)


def test_a_synthesis_is_written_with_the_sentences_of_the_answers() -> None:
    answers = [said(f"{model}?tokens=90") for model in PANEL]
    asked_for = draft_messages(asked("Why do cats purr?"), [branch(n, text) for n, text in enumerate(answers)])
    draft = sentences(answer(sim.parse("sim/any?tokens=200"), asked_for, Parameters()))
    assert draft[0] == sentences(answers[0])[0]
    assert draft[1].startswith("Not everybody agrees: as for why cats purr")
    known = {sentence for text in answers for sentence in sentences(text)}
    own = [sentence for sentence in draft if sentence not in known]
    assert all(sentence.startswith(("Not everybody agrees: ", "Another figure given is ")) for sentence in own)


def test_a_synthesis_names_the_figures_that_differ() -> None:
    answers = [branch(1, "It takes 20 days."), branch(2, "It takes 25 days."), branch(3, "It takes 20 days.")]
    text = answer(sim.parse("sim/any"), draft_messages(asked("How long?"), answers), Parameters())
    assert text == "It takes 20 days. Another figure given is 25."


def test_a_revision_uses_the_answers_and_not_the_draft_before() -> None:
    messages = draft_messages(asked("How long?"), [branch(1, "Ten days.")], previous="Nobody knows.")
    assert answer(sim.parse("sim/any"), messages, Parameters()) == "Ten days."

import pytest

from whet_server.errors import InvalidField
from whet_server.llm import sim
from whet_server.llm.sim.classify import accuracy
from whet_server.llm.sim.prose import answer
from whet_server.values import Message, Parameters, Speaker

LABELS = ("billing", "shipping", "login")
MODEL = "sim/classify?labels=billing,shipping,login&skill=0.5&cue=only+the+label&lift=0.3&cool=0.4&heat=0.1&shot=0.04"
PLAIN = "Which topic is this?"
CUED = "Which topic is this? Say only the label."
TEXTS = [(f"Message {number} about something [{LABELS[number % 3]}]", LABELS[number % 3]) for number in range(600)]


def ask(text: str, prompt: str = PLAIN, model: str = MODEL, temperature: float = 0.0, shots: int = 0) -> str:
    return answer(sim.parse(model), messages(text, prompt, shots), Parameters(temperature=temperature))


def messages(text: str, prompt: str, shots: int = 0) -> tuple[Message, ...]:
    solved = [
        Message(role=role, content=content)
        for _ in range(shots)
        for role, content in ((Speaker.USER, f"{prompt}\nx [login]"), (Speaker.ASSISTANT, "login"))
    ]
    return (*solved, Message(role=Speaker.USER, content=f"{prompt}\n{text}"))


def right(**how: object) -> list[bool]:
    return [ask(text, **how) == truth for text, truth in TEXTS]  # type: ignore[arg-type]  # what a test says of it


def share(**how: object) -> float:
    found = right(**how)
    return sum(found) / len(found)


def test_it_is_right_as_often_as_its_name_plants_it() -> None:
    assert share() == pytest.approx(0.5, abs=0.05)
    assert share(prompt=CUED) == pytest.approx(0.8, abs=0.05)
    assert share(prompt=CUED, temperature=0.5) == pytest.approx(0.45, abs=0.05)
    assert share(prompt=CUED, temperature=0.4, shots=4) == pytest.approx(0.92, abs=0.05)
    assert share(model="sim/classify?labels=billing,shipping,login&skill=1") == 1


def test_a_text_is_as_hard_for_one_prompt_as_for_the_other() -> None:
    plain, cued = right(), right(prompt=CUED)
    lost = sum(before and not after for before, after in zip(plain, cued, strict=True))
    assert lost < 0.1 * len(TEXTS)
    sure = MODEL + "&luck=0"
    assert not any(b and not a for b, a in zip(right(model=sure), right(model=sure, prompt=CUED), strict=True))


def test_it_gives_labels_alone_and_the_same_for_the_same_request() -> None:
    given = [ask(text) for text, _ in TEXTS]
    assert set(given) == set(LABELS)
    assert given == [ask(text) for text, _ in TEXTS]
    assert given != [ask(text, model=MODEL + "&seed=5") for text, _ in TEXTS]


def test_labels_in_the_task_do_not_hide_the_text_s_own() -> None:
    task = "One of [billing], [shipping], [login]: "
    always = "sim/classify?labels=billing,shipping,login&skill=1"
    assert {ask(text, task, always) == truth for text, truth in TEXTS} == {True}


def test_what_is_planted_can_be_asked_for() -> None:
    by = sim.parse(MODEL).classifier
    assert by is not None
    assert accuracy(by, messages("x", CUED), Parameters(temperature=0.4)) == pytest.approx(0.76)


@pytest.mark.parametrize(
    "model", ["sim/classify?labels=one", "sim/classify?labels=a,A", "sim/classify?skill=1.1", "sim/fast?skill=0.5"]
)
def test_a_setting_that_makes_no_sense_is_refused(model: str) -> None:
    with pytest.raises(InvalidField):
        sim.parse(model)

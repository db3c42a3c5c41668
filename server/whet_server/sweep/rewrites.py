"""How rewritten texts stand on the record: as choices that the sweep made itself, by the number of the rewrite."""

from collections.abc import Iterable, Mapping
from typing import Final

from whet_server.sweep.fold import TrialFold
from whet_server.sweep.spec import Pipeline
from whet_server.sweeping import Choice, ParameterValue

_LABEL: Final = "rewrite "
_PLACE: Final = ".template"


class Rewrites:
    """The texts of a sweep by reflection, from its trials."""

    def __init__(self, pipeline: Pipeline, trials: Iterable[TrialFold] = ()) -> None:
        self._first = {stage.name: stage.template for stage in pipeline.stages}
        self._labels: dict[tuple[str, str], str] = {}
        self.known: dict[int, dict[str, str]] = {}
        """All texts of each rewrite that led to a trial, by its number: what `reflect` is taken up with."""
        for trial in trials:
            self._take(trial)

    def written(self, number: int, texts: Mapping[str, str]) -> tuple[tuple[ParameterValue, ...], tuple[Choice, ...]]:
        """Return a trial's parameters, and the texts behind their labels. Stages with their first text are left out."""
        others = {stage: text for stage, text in texts.items() if text != self._first[stage]}
        for each in others.items():
            self._labels.setdefault(each, f"{_LABEL}{number}")
        if others:
            self.known[number] = self._first | others
        named = {stage: self._labels[stage, text] for stage, text in others.items()}
        return (
            tuple(ParameterValue(name=stage + _PLACE, text=label) for stage, label in named.items()),
            tuple(Choice(label=label, text=others[stage]) for stage, label in named.items()),
        )

    def _take(self, trial: TrialFold) -> None:
        made = {choice.label: choice.text for choice in trial.texts}
        labels = {
            each.name.removesuffix(_PLACE): each.text
            for each in trial.parameters
            if each.text is not None and each.text in made
        }
        if labels:
            number = max(int(label.removeprefix(_LABEL)) for label in labels.values())
            texts = {stage: made[label] for stage, label in labels.items()}
            self._labels |= {(stage, texts[stage]): label for stage, label in labels.items()}
            self.known[number] = self._first | texts

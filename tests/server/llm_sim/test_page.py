from pathlib import Path

from whet_server.llm import sim

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_names_every_preset_setting_and_fault() -> None:
    names = [f"sim/{preset.name}" for preset in sim.presets()]
    names += [setting.name for setting in sim.settings()] + list(sim.Fault) + list(sim.Stance)
    assert [name for name in names if f"`{name}`" not in PAGE] == []

"""The demo's run: captured once into the user's cache, opened as soon as it has an episode."""

from __future__ import annotations

import pytest
from paths import DEMO
from window_driver import close, until

from viewer.controllers.settings import Settings
from viewer.io import demo_files
from viewer.widgets.main_window import MainWindow

EPISODE = DEMO / "rollouts" / "episode_000002"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, and a run of one bundled episode in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(demo_files, "find_demo_episodes", lambda: [EPISODE])
    demo_files.find_demo_run_folder.cache_clear()
    yield tmp_path / "cache"
    demo_files.find_demo_run_folder.cache_clear()


@pytest.fixture
def window(tmp_path, cache):
    settings = Settings(tmp_path / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.show()
    yield window
    close(window)


def test_demo_run_is_captured_into_the_cache_and_opened(window, cache):
    notices = []
    window.session.noticed.connect(notices.append)
    window.files.demos.open_run("--episodes", "2", "--frames", "0")
    assert window.files.demos.is_capturing
    assert "captures its run, which happens once" in window.page.text.text()
    until(lambda: not window.files.demos.is_capturing, 120)
    until(lambda: window.session.results is not None)
    folder = demo_files.find_demo_run_folder()
    assert folder is not None
    assert folder.is_relative_to(cache)
    assert window.files.run is not None
    assert window.files.run.episodes.run.folder == folder
    assert demo_files.is_demo_run_captured()
    results, state = window.session.results, window.session.state
    assert [results.chips(0)[item].label for item in state.query.items] == ["duck"]
    assert (state.layer, state.heads) == (1, (0,))

    window.files.close()
    window.files.demos.open_run()
    assert not window.files.demos.is_capturing
    until(lambda: window.session.results is not None)


def test_demo_run_without_pytorch_is_a_sentence(window, monkeypatch):
    monkeypatch.setattr(demo_files, "can_capture", lambda: False)
    window.files.demos.open_run()
    assert not window.files.demos.is_capturing
    assert "PyTorch is not installed here" in window.page.text.text()


def test_demo_run_that_cannot_be_captured_reports_the_reason(window):
    window.files.demos.open_run("--frames", "none")
    until(lambda: not window.files.demos.is_capturing, 60)
    assert window.page.text.text().startswith("The demo’s run was not captured: 'none' chooses no frames.")


def test_bundled_episodes_that_are_missing_are_a_sentence(window, monkeypatch):
    monkeypatch.setattr(demo_files, "find_demo_episodes", list)
    demo_files.find_demo_run_folder.cache_clear()
    window.files.demos.open_run()
    assert "not part of this installation" in window.page.text.text()


def test_demo_run_folder_depends_on_the_episodes(cache, monkeypatch):
    first = demo_files.find_demo_run_folder()
    demo_files.find_demo_run_folder.cache_clear()
    monkeypatch.setattr(demo_files, "find_demo_episodes", lambda: [EPISODE.with_name("episode_000003")])
    second = demo_files.find_demo_run_folder()
    assert first is not None
    assert second is not None
    assert first != second
    assert (first.name, second.name) == ("demo-run", "demo-run")

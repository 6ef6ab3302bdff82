"""Folders of the checkout that tests use."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
DATA = TESTS / "data"
GOLDEN = TESTS / "golden"
DEMO = ROOT / "resources" / "demo"

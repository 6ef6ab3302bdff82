"""LRU cache bounded in bytes: what it keeps and drops, and one value per key for all threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from viewer.io.cache import Cache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), max_size=60), st.integers(100, 1500))
def test_cache_stays_within_its_bytes(asked: list[tuple[int, int]], limit: int) -> None:
    cache, sizes = Cache(limit), dict[int, int]()
    for key, size in asked:
        size = sizes.setdefault(key, size)
        assert cache.get(key, lambda key=key: str(key), lambda _, size=size: size) == str(key)
        assert key in cache
        assert cache.bytes <= limit or len(cache) == 1
    assert cache.bytes == sum(sizes[key] + 64 for key in range(10) if key in cache)


def test_least_recently_used_value_is_dropped_first() -> None:
    cache = Cache(300)
    for key in "abab":
        cache.get(key, str, lambda _: 50)
    cache.get("a", str, lambda _: 50)
    cache.get("c", str, lambda _: 50)
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)


def test_threads_share_a_value_of_the_cache() -> None:
    cache = Cache(2000)

    def ask(number: int) -> int:
        return cache.get(number % 17, lambda: number % 17, lambda _: 100)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(2000))) == [number % 17 for number in range(2000)]
    assert cache.bytes == len(cache) * 164

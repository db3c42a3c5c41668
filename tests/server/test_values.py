import threading

from whet_server.values import new_id


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id("fan") for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {30}


def test_ids_of_several_threads_are_never_the_same() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id("res") for _ in range(2_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000

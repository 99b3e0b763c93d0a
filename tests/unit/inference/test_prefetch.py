"""One batch is worked out ahead, in order, and errors come where their result would."""

import threading

import pytest

from pointadapt.inference.prefetch import one_ahead


def test_order_and_thread():
    here, threads = threading.get_ident(), []

    def double(x):
        threads.append(threading.get_ident())
        return 2 * x

    assert list(one_ahead(double, range(5))) == [0, 2, 4, 6, 8]
    assert len(set(threads)) == 1
    assert threads[0] != here
    assert list(one_ahead(double, [])) == []


def test_the_next_is_begun_while_this_one_is_used():
    begun = [threading.Event() for _ in range(3)]

    def begin(k):
        begun[k].set()
        return k

    for k in one_ahead(begin, range(3)):
        if k < 2:
            assert begun[k + 1].wait(10)


def test_an_error_comes_in_its_place():
    found = one_ahead(lambda x: 1 // x, [1, 0, 1])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)

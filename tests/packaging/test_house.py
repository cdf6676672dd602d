"""The sizes that the house keeps to: see `benchmarks.house`, which prints them."""

from benchmarks.house import one_caller


def test_few_functions_of_one_statement_have_one_caller():
    few, every = one_caller()
    assert len(few) < 0.1 * every

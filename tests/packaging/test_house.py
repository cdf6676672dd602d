"""The sizes that the house keeps to: see `benchmarks.house`, which prints them."""

from benchmarks.house import LONGEST_FILE, LONGEST_FUNCTION, one_caller, too_long


def test_no_file_and_no_function_is_too_long():
    assert too_long() == [], f"cut after {LONGEST_FILE} and {LONGEST_FUNCTION} lines at most"


def test_few_functions_of_one_statement_have_one_caller():
    few, every = one_caller()
    assert len(few) < 0.1 * every

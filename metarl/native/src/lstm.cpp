#include "lstm.h"

#include "cell.h"

METARL_CELL(lstm, Lstm)

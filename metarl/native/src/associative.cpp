#include "associative.h"

#include "cell.h"

METARL_CELL(associative, Associative)

#include "gru.h"

#include "cell.h"

METARL_CELL(gru, Gru)

#include "attention.h"

#include "cell.h"

METARL_CELL(transformer, Transformer)

#include "linear_attention.h"

#include "cell.h"

METARL_CELL(linear_attention, LinearAttention)

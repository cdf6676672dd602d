#include "warp.h"

#include "cell.h"

METARL_CELL(warp, Warp)

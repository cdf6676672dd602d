#include "plastic.h"

#include "cell.h"

METARL_CELL(plastic, Plastic)

#include "modulated.h"

#include "cell.h"

METARL_CELL(modulated, ModulatedPlastic)

#include "rnn.h"

#include "cell.h"

METARL_CELL(rnn, Rnn)

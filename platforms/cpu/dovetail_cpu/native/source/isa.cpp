// The kernels for one instruction set; compiled once for each, with DOVETAIL_ISA naming the table.
// Nothing here but intrinsics and plain C: a standard-library template compiled here could be the copy that the linker
// keeps for the whole library, and that would then need this instruction set.

#include "attention.h"
#include "pack.h"
#include "peak.h"
#include "product.h"
#include "rows.h"

#define DOVETAIL_TEXT(x) #x
#define DOVETAIL_NAME(x) DOVETAIL_TEXT(x)

namespace dovetail {

extern const Kernels DOVETAIL_ISA;
const Kernels DOVETAIL_ISA = {DOVETAIL_NAME(DOVETAIL_ISA), {kFewDense, kFew, kFew}, enter, leave, scratch_bytes, pack, product,
                              write_cache,                 attend, embed, norm,          rope, activate_row,
                              peak,                     row_sum};

}  // namespace dovetail

/* A bell: see bell.h. */
#include "bell.h"

#include "errors.h"

#include <stdlib.h>

int ferry_bell_open(ferry_bell **out, ferry_why *why) {
    ferry_why ignored;
    ferry_bell *bell = (ferry_bell *)calloc(1, sizeof *bell);
    if (why == NULL) why = &ignored;
    ferry__fail(why, 0, "%s", "");
    *out = NULL;
    if (bell == NULL) return ferry__no_memory(why);
    bell->manners.looks = FERRY__SPIN_LOOKS;
    if (ferry__region_create(FERRY__PAGE, 0, &bell->region, why) == 0) *out = bell;
    else free(bell);
    return why->code;
}

void ferry_bell_close(ferry_bell *bell) {
    if (bell == NULL) return;
    ferry__region_release(bell->region);
    free(bell);
}

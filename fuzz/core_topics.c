/* Topics beside a table of who has subscribed to what: any steps, within visits as well, and memory that runs
 * out. */
#include "topics.h"

#include "../tests/core/topics_script.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script none;
    struct script script = none;
    for (size_t index = 0; index + 1 < size; index += 2) {
        script_step(&script, data[index], data[index + 1], require);
    }
    script_end(&script, require);
    return 0;
}

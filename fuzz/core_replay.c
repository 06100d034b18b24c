/* Runs a fuzzer's function on files, where the compiler has no libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **arguments)
{
    for (int index = 1; index < count; index++) {
        FILE *file = fopen(arguments[index], "rb");
        uint8_t *data = malloc(1 << 20);
        if (file == NULL || data == NULL) {
            perror(arguments[index]);
            return 1;
        }
        const size_t size = fread(data, 1, 1 << 20, file);
        fclose(file);
        /* Exactly as large as the input, so that the sanitizer sees a read behind it. */
        uint8_t *fitting = realloc(data, size > 0 ? size : 1);
        LLVMFuzzerTestOneInput(fitting, size);
        free(fitting);
    }
    return 0;
}
